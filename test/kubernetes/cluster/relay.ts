// Runs inside a node's network namespace and passes connections on to the API server. The socket that it accepts from comes from its
// parent, so it listens in the machine's namespace: relay.ts HOST PORT, with a channel to the parent. It runs until it is killed.
import { connect, type Server, type Socket } from 'node:net';

const [host = '', port = ''] = process.argv.slice(2);

process.once('message', (_message, handle) => {
  const server = handle as Server;
  server.on('connection', (client: Socket) => {
    const upstream = connect({ host, port: Number(port) });
    join(client, upstream);
    join(upstream, client);
  });
  process.send?.('ready', undefined, undefined, () => process.disconnect?.());
});

/** One direction. A side that fails takes the other with it. */
function join(from: Socket, to: Socket): void {
  from.on('error', () => to.destroy());
  from.on('close', () => to.destroySoon());
  from.pipe(to);
}
