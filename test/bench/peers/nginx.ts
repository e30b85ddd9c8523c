import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SERVICE_HOST } from '../cases.ts';
import { freePort } from '../ports.ts';
import { accepts, startProgram } from '../processes.ts';
import type { Upstream } from '../upstream.ts';
import { findProgram } from './debian.ts';
import type { Peer } from './peer.ts';

const COMMAND = '/usr/sbin/nginx';

export const nginx: Peer = {
  name: 'nginx',
  topologies: ['one-hop'],
  find: () =>
    findProgram('nginx', () => spawnSync(COMMAND, ['-v'], { encoding: 'utf8' }).stderr.split('/').at(-1)),
  async start({ directory, upstream, seats }) {
    const port = await freePort();
    const file = join(directory, 'nginx.conf');
    writeFileSync(file, config(directory, port, upstream));
    const program = await startProgram(COMMAND, ['-c', file, '-p', directory], {
      seat: seats.proxy,
      ready: () => accepts('127.0.0.1', port),
    });
    return { url: `http://127.0.0.1:${port}`, pids: () => [program.pid], stop: program.stop };
  },
};

/** One worker, that is the only process. Counters are those of `stub_status`. */
function config(directory: string, port: number, upstream: Upstream): string {
  const servers = upstream.addresses
    .map((address) => `    server ${address}:${upstream.port} max_fails=5 fail_timeout=30s max_conns=1024;`)
    .join('\n');
  return `daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  upstream web {
    least_conn;
${servers}
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }
  map $http_x_canary $service { default web; "yes" web; }
  proxy_http_version 1.1;
  proxy_set_header Host $host;
  proxy_set_header Connection "";
  proxy_set_header X-Request-ID $request_id;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto http;
  proxy_connect_timeout 2s;
  proxy_read_timeout 15s;
  proxy_next_upstream error timeout http_503;
  proxy_next_upstream_tries 3;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    server_name ${SERVICE_HOST};
    location = /healthz { proxy_pass http://web; }
    location /admin/ { proxy_pass http://web; }
    location /items/ { proxy_pass http://$service; }
    location / { return 404; }
    location = /status { stub_status; }
  }
}
`;
}
