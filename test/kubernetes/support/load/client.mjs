// Calls TARGET at a fixed rate, whatever becomes of the calls, and counts every one that isn't answered 200 in time. GET / on port 9090
// tells {sent, answered, failed, open, failures}. Kinds of calls alternate: on kept connections and on new ones, quick and slow, with a
// body (which nobody may send twice) and without.
import http from 'node:http';

const target = new URL(process.env.TARGET ?? 'http://server');
const perSecond = Number(process.env.RATE ?? 20);
const TIMEOUT_MS = 15_000;
const FAILURES_KEPT = 100;
const KINDS = [
  { path: '/', method: 'GET', kept: true },
  { path: '/', method: 'GET', kept: false },
  { path: '/slow', method: 'GET', kept: true },
  { path: '/', method: 'POST', kept: true },
  { path: '/slow', method: 'POST', kept: false },
];

const kept = new http.Agent({ keepAlive: true, maxSockets: 16 });
const counts = { sent: 0, answered: 0, failed: 0, byPod: {} };
const failures = [];

function call(kind, startedAt) {
  const { path, method } = kind;
  return new Promise((resolve, reject) => {
    const agent = kind.kept ? kept : new http.Agent({ keepAlive: false });
    const request = http.request(new URL(path, target), { method, agent, timeout: TIMEOUT_MS });
    request.on('timeout', () => request.destroy(new Error(`no answer in ${Date.now() - startedAt} ms`)));
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) return resolve(text);
        const reason = response.headers['x-heddle-reason'] ?? '';
        reject(new Error(`${response.statusCode} ${reason} ${text}`.slice(0, 300)));
      });
    });
    request.end(method === 'POST' ? JSON.stringify({ amount: 1 }) : undefined);
  });
}

async function one(number) {
  const kind = KINDS[number % KINDS.length];
  const startedAt = Date.now();
  counts.sent++;
  try {
    const pod = await call(kind, startedAt);
    counts.answered++;
    counts.byPod[pod] = (counts.byPod[pod] ?? 0) + 1;
  } catch (error) {
    counts.failed++;
    const at = new Date(startedAt).toISOString().slice(11, 23);
    const what = `${at} +${Date.now() - startedAt}ms ${kind.method} ${kind.path} ${kind.kept ? 'kept' : 'new'}: ${error.code ?? ''} ${error.message}`;
    if (failures.length < FAILURES_KEPT) failures.push(what);
    console.log(what);
  }
}

let number = 0;
setInterval(() => void one(number++), 1000 / perSecond);
http
  .createServer((_request, response) => {
    const { sent, answered, failed } = counts;
    response.end(JSON.stringify({ ...counts, open: sent - answered - failed, failures }));
  })
  .listen(9090, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
