import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../../common/errors.ts';

const RELAY = fileURLToPath(new URL('./relay.ts', import.meta.url));

export interface RelayOptions {
  readonly netns: string;
  /** Of cgroup v2: it ends with all that is in there. */
  readonly cgroup: string;
  readonly host: string;
  readonly port: number;
  readonly log: string;
}

/**
 * Starts a process that listens on a free port of the machine's loopback and connects from within a network namespace; the port.
 * A socket belongs to the namespace that it was made in, so the caller makes it and hands it over.
 */
export async function startRelay({ netns, cgroup, host, port, log }: RelayOptions): Promise<number> {
  const server = createServer();
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const output = openSync(log, 'a');
  const join = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
  const node = [process.execPath, '--max-semi-space-size=1', RELAY, host, String(port)];
  const child = spawn('sh', ['-c', join, cgroup, 'nsenter', `--net=${netns}`, '--', ...node], {
    ...{ detached: true, stdio: ['ignore', output, output, 'ipc'] },
  });
  closeSync(output);
  const failed = once(child, 'exit').then(() => {
    throw new HeddleError('relay', `the relay to the API server ended: see ${log}`);
  });
  child.send('listen', server);
  await Promise.race([once(child, 'message'), failed]);
  failed.catch(() => {});
  const { port: own } = server.address() as AddressInfo;
  server.close();
  child.unref();
  return own;
}
