import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../../support/wait.ts';

const HERE = fileURLToPath(new URL('./', import.meta.url));
const NGINX = '/usr/sbin/nginx';
export const HAS_NGINX = existsSync(NGINX);

/** A server that somebody else wrote, on a port of loopback. */
export interface ForeignApp {
  readonly port: number;
  close(): Promise<void>;
}

/** Python's HTTP server, speaking the given version, with the files of `directory`. */
export async function pythonApp(version: 'HTTP/1.0' | 'HTTP/1.1', directory: string): Promise<ForeignApp> {
  const child = spawn('python3', [join(HERE, 'python-app.py'), version], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [first] = await once(child.stdout, 'data');
  return { port: Number(String(first)), close: () => stop(child) };
}

/** nginx with the files of `directory`, compressed, five requests a connection, bodies up to a megabyte. */
export async function nginxApp(directory: string): Promise<ForeignApp> {
  const port = await unusedPort();
  const file = join(directory, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${directory}/${name};`,
  );
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${directory}/nginx.pid; error_log stderr crit;
events { worker_connections 256; }
http {
  access_log off; gzip on; gzip_types *; keepalive_requests 5; client_max_body_size 1m;
  ${temporary.join(' ')}
  server { listen 127.0.0.1:${port}; root ${directory}; location /length { return 200 "length\\n"; } }
}
`,
  );
  const child = spawn(NGINX, ['-c', file, '-p', directory], { stdio: ['ignore', 'ignore', 'inherit'] });
  await eventually(() => accepts(port), { deadlineMs: 10_000, what: 'nginx listens' });
  return { port, close: () => stop(child) };
}

/** Node's HTTP server: `file` for a GET, the length of what was sent otherwise, `/early` answered before it is read. */
export async function nodeApp(file: Buffer): Promise<ForeignApp> {
  const server = http.createServer((request, response) => {
    if (request.url === '/early') {
      response.writeHead(413);
      response.end('too much');
      return;
    }
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
    });
    request.on('end', () => response.end(request.method === 'GET' ? file : `${request.method} ${length}`));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** What a program prints, and what it ended with. */
export async function run(
  command: string,
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1');
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

export function runPythonClient(proxyPort: number, host: string): Promise<{ readonly output: string }> {
  return run('python3', [join(HERE, 'python-client.py'), String(proxyPort), host]);
}

async function stop(child: ReturnType<typeof spawn>): Promise<void> {
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function unusedPort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
