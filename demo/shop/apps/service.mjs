// What the shop's Node services share: a small HTTP server that stops politely, and passing on of trace headers.
import http from 'node:http';

/** Headers that a service hands on to those it calls, so that one visit stays one trace. */
const CARRIED = [
  'traceparent',
  'tracestate',
  'x-request-id',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-user',
];
const BODY_BYTES_MAX = 64 * 1024;

export function carriedHeaders(request) {
  const carried = {};
  for (const name of CARRIED) if (request.headers[name] !== undefined) carried[name] = request.headers[name];
  return carried;
}

export function sendJson(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

export async function readBody(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error('the body is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Serves `routes` ("GET /items" → handler) on $HOST:$PORT until SIGTERM, then finishes what is open. */
export function serve(name, routes) {
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname === '/healthz') return sendJson(response, 200, { ok: true });
    const handler = routes[`${request.method} ${url.pathname}`];
    if (handler === undefined)
      return sendJson(response, 404, { error: `${name} has no ${request.method} ${url.pathname}` });
    try {
      await handler(request, response, url);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { error: error.message });
    }
  });
  server.keepAliveTimeout = 65_000;
  server.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? '0.0.0.0', () => {
    const { address, port } = server.address();
    console.log(`${name} listens on ${address}:${port}`);
  });
  process.on('SIGTERM', () => {
    server.close(() => process.exit(0));
    // A connection that was busy when the signal came is idle, and still open, once its answer is out.
    setInterval(() => server.closeIdleConnections(), 50).unref();
  });
}
