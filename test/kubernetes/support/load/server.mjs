// Says the name of its pod; /slow takes a while. On SIGTERM it stops to listen at once and finishes what is open, as polite servers
// do: no preStop hook gives the others time to hear of it.
import http from 'node:http';
import { hostname } from 'node:os';

const SLOW_MS = 400;

const server = http.createServer((request, response) => {
  request.resume();
  request.on('end', () => {
    const answer = () => response.end(process.env.NAME ?? hostname());
    if (request.url === '/slow') setTimeout(answer, SLOW_MS);
    else answer();
  });
});
server.keepAliveTimeout = 60_000;
server.listen(8080, '0.0.0.0');
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  setInterval(() => server.closeIdleConnections(), 50).unref();
});
