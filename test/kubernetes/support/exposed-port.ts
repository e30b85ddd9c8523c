import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Server, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../../common/errors.ts';

const LISTENER = fileURLToPath(new URL('./exposed-listener.ts', import.meta.url));

export interface Exposed {
  close(): Promise<void>;
}

/**
 * Listens on a port of the loopback of a network namespace, and passes connections on to the same port of this process's own
 * loopback. A socket belongs to the namespace that it was made in: a process in there makes it and hands it over.
 * Throws HeddleError `port` where the port isn't free there.
 */
export async function expose(netns: string, port: number): Promise<Exposed> {
  const child = spawn('nsenter', [`--net=${netns}`, '--', process.execPath, LISTENER, String(port)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const handed = new Promise<Server>((resolve, reject) => {
    child.once('message', (_message, server) => resolve(server as Server));
    child.once('error', reject);
    child.once('exit', (code) => {
      reject(new HeddleError('port', `port ${port} of ${netns} can't be listened on: exit code ${code}`));
    });
  });
  const server = await handed;
  child.disconnect();
  await once(child, 'exit');
  const open = new Set<Socket>();
  server.on('connection', (client: Socket) => {
    const upstream = connect({ host: '127.0.0.1', port });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroySoon();
      });
      one.pipe(other);
    }
  });
  return {
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
