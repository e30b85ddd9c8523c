// The shop's front: asks the other services and makes one page of their answers.
import { page } from './page.mjs';
import { carriedHeaders, serve } from './service.mjs';

const TIMEOUT_MS = 5_000;

/** What a service answered, or why it didn't: the page shows either. */
async function ask(url, request, init = {}) {
  const started = performance.now();
  try {
    const response = await fetch(url, {
      ...init,
      headers: { ...carriedHeaders(request), ...init.headers },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    const tookMs = Math.round(performance.now() - started);
    if (!response.ok)
      return {
        error: `${response.status} ${response.headers.get('x-heddle-reason') ?? ''} ${text}`.slice(0, 160),
        tookMs,
      };
    return { value: JSON.parse(text), tookMs };
  } catch (error) {
    return { error: error.cause?.message ?? error.message, tookMs: Math.round(performance.now() - started) };
  }
}

async function shopFront(request, response, url) {
  const [catalog, reviews, cart, quote] = await Promise.all([
    ask('http://catalog/items', request),
    ask('http://reviews/reviews', request),
    ask('http://cart/cart', request),
    ask('http://payments/quote', request),
  ]);
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  response.end(page({ catalog, reviews, cart, quote, note: url.searchParams.get('note') ?? '' }));
}

async function buy(request, response) {
  const paid = await ask('http://payments/pay', request, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amountCents: 1290 }),
  });
  const note = paid.error === undefined ? `Paid. Receipt ${paid.value.receipt}.` : `Not paid: ${paid.error}`;
  response.writeHead(303, { location: `/?note=${encodeURIComponent(note)}` });
  response.end();
}

async function addToCart(request, response, url) {
  await ask('http://cart/cart', request, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: url.searchParams.get('id') ?? '' }),
  });
  response.writeHead(303, { location: '/' });
  response.end();
}

serve('web', { 'GET /': shopFront, 'POST /buy': buy, 'POST /add': addToCart });
