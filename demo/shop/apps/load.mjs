// A few visitors: looks at the shop, and buys now and then. One request at a time, at a bounded rate.
const target = process.env.TARGET ?? 'http://web';
const perSecond = Math.min(50, Number(process.env.RATE ?? 4));
const BUY_EVERY = 4;
const TIMEOUT_MS = 10_000;

let running = true;
process.on('SIGTERM', () => {
  running = false;
});

const counts = { ok: 0, failed: 0 };
async function visit(number) {
  const buys = number % BUY_EVERY === 0;
  try {
    const response = await fetch(`${target}${buys ? '/buy' : '/'}`, {
      method: buys ? 'POST' : 'GET',
      redirect: 'manual',
      headers: { 'x-user': number % 2 === 0 ? 'beta' : 'plain' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.arrayBuffer();
    if (response.status < 500) counts.ok++;
    else counts.failed++;
  } catch (error) {
    counts.failed++;
    console.log(`visit ${number}: ${error.cause?.message ?? error.message}`);
  }
}

console.log(`load: ${perSecond} visits a second to ${target}`);
for (let number = 1; running; number++) {
  const started = Date.now();
  await visit(number);
  if (number % 100 === 0) console.log(`load: ${counts.ok} fine, ${counts.failed} failed`);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / perSecond - (Date.now() - started))));
}
