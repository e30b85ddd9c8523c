// A service for tests: says who it is, calls others on request, stops when its last answer is out.
import { readFileSync } from 'node:fs';
import http from 'node:http';

const { HOST = '0.0.0.0', PORT = '8080', VERSION = 'v1', COLOUR = '', SETTINGS_FILE = '' } = process.env;

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const json = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  if (url.pathname === '/healthz') return json(200, { ok: true });
  if (url.pathname === '/call') {
    try {
      const headers = {};
      for (const name of ['x-user', 'traceparent'])
        if (request.headers[name] !== undefined) headers[name] = request.headers[name];
      const answer = await fetch(url.searchParams.get('url') ?? '', { headers });
      return json(200, {
        status: answer.status,
        reason: answer.headers.get('x-heddle-reason'),
        body: await answer.text(),
      });
    } catch (error) {
      return json(502, { error: error.cause?.message ?? error.message });
    }
  }
  json(200, {
    version: VERSION,
    colour: COLOUR,
    settings: SETTINGS_FILE === '' ? '' : readFileSync(SETTINGS_FILE, 'utf8'),
    pid: process.pid,
  });
});
server.listen(Number(PORT), HOST, () => console.log(`${VERSION} listens on ${HOST}:${PORT}`));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  setInterval(() => server.closeIdleConnections(), 20).unref();
});
