// Runs inside a network namespace for as long as it takes to listen on a port of its loopback and to hand the socket to the parent:
// exposed-listener.ts PORT
import { createServer } from 'node:net';

const server = createServer();
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]) }, () => {
  process.send?.('listening', server);
});
// The parent has the socket once it lets go of the channel.
process.once('disconnect', () => process.exit(0));
