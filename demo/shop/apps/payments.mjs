// Payments: a provider that now and then can't be reached. FAIL_PERCENT says how often.
import { readBody, sendJson, serve } from './service.mjs';

const failPercent = Number(process.env.FAIL_PERCENT ?? 10);
let paid = 0;

const providerDown = () => Math.random() * 100 < failPercent;

serve('payments', {
  'GET /quote': (_request, response) => {
    if (providerDown()) return sendJson(response, 503, { error: 'the payment provider is not answering' });
    sendJson(response, 200, { feeCents: 35, paid });
  },
  'POST /pay': async (request, response) => {
    const { amountCents } = JSON.parse(await readBody(request));
    if (providerDown()) return sendJson(response, 503, { error: 'the payment provider is not answering' });
    paid++;
    sendJson(response, 200, { receipt: `R-${String(paid).padStart(5, '0')}`, amountCents });
  },
});
