import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nginxConfig } from './nginx-config.ts';
import { freePort } from './ports.ts';
import { accepts, startProgram } from './processes.ts';

/** What every proxy forwards to: nginx with a fixed answer, at two addresses so that there is something to balance. */
export interface Upstream {
  readonly addresses: readonly string[];
  readonly port: number;
  readonly body: string;
  stop(): Promise<void>;
}

const ADDRESSES = ['127.0.0.1', '127.0.0.2'];

export async function startUpstream(
  directory: string,
  bodyBytes: number,
  seat: number | undefined,
): Promise<Upstream> {
  const port = await freePort(...ADDRESSES);
  const body = `${'heddle '.repeat(Math.ceil(bodyBytes / 7)).slice(0, bodyBytes - 1)}\n`;
  writeFileSync(join(directory, 'body.txt'), body);
  const file = join(directory, 'upstream.conf');
  const listens = ADDRESSES.map((address) => `${address}:${port}`);
  writeFileSync(file, nginxConfig({ directory, listens, body }));
  const program = await startProgram('/usr/sbin/nginx', ['-c', file, '-p', directory], {
    seat,
    ready: () => accepts('127.0.0.1', port),
  });
  return { addresses: ADDRESSES, port, body, stop: program.stop };
}
