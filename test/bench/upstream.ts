import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
  writeFileSync(file, config(directory, port, body));
  const program = await startProgram('/usr/sbin/nginx', ['-c', file, '-p', directory], {
    seat,
    ready: () => accepts('127.0.0.1', port),
  });
  return { addresses: ADDRESSES, port, body, stop: program.stop };
}

/** Small bodies are answered from the configuration, which costs the upstream least. */
const INLINE_BYTES_MAX = 4_096;

function config(directory: string, port: number, body: string): string {
  const answer =
    body.length <= INLINE_BYTES_MAX
      ? `return 200 "${body}";`
      : `root ${directory}; try_files /body.txt =404;`;
  return `daemon off;
master_process off;
pid ${directory}/upstream.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  open_file_cache max=16;
  sendfile on;
  server {
${ADDRESSES.map((address) => `    listen ${address}:${port} backlog=4096;`).join('\n')}
    location / { default_type text/plain; ${answer} }
  }
}
`;
}
