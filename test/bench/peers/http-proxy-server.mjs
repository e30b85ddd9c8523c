// The peer "http-proxy": the npm package as its users deploy it, with routing, retries and counters in JavaScript.
// Arguments: the port to listen on, the service's host name, the upstream's addresses.
import http from 'node:http';
import httpProxy from 'http-proxy';

const [port, serviceHost, ...targets] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1024 });
const proxy = httpProxy.createProxyServer({ agent, xfwd: true, proxyTimeout: 15_000 });
const counts = new Map();
const inFlight = targets.map(() => 0);
const ATTEMPTS_MAX = 3;

/** The same rules as the others have, in the same order. */
function matches(request) {
  const path = request.url.split('?')[0];
  if (request.headers.host !== serviceHost) return false;
  if (request.headers['x-canary'] === 'yes' && path.startsWith('/items/')) return true;
  return path === '/healthz' || path.startsWith('/admin/') || path.startsWith('/items/');
}

function pick() {
  let best = 0;
  for (let index = 1; index < targets.length; index++) if (inFlight[index] < inFlight[best]) best = index;
  return best;
}

function attempt(request, response, left) {
  const at = pick();
  inFlight[at]++;
  let open = true;
  const done = () => {
    if (open) inFlight[at]--;
    open = false;
  };
  response.once('close', done);
  proxy.web(request, response, { target: targets[at] }, (error) => {
    done();
    if (left > 1 && !response.headersSent && error.code === 'ECONNREFUSED')
      attempt(request, response, left - 1);
    else response.writeHead(503).end();
  });
}

const server = http.createServer((request, response) => {
  response.on('finish', () => counts.set(response.statusCode, (counts.get(response.statusCode) ?? 0) + 1));
  if (!matches(request)) {
    response.writeHead(404).end();
    return;
  }
  request.headers['x-request-id'] ??= crypto.randomUUID();
  attempt(request, response, ATTEMPTS_MAX);
});
server.keepAliveTimeout = 600_000;
server.listen(Number(port), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
