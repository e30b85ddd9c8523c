import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SERVICE_HOST } from '../cases.ts';
import { freePort } from '../ports.ts';
import { accepts, startProgram } from '../processes.ts';
import type { Upstream } from '../upstream.ts';
import { findProgram } from './debian.ts';
import type { Peer } from './peer.ts';

const COMMAND = '/usr/sbin/haproxy';

export const haproxy: Peer = {
  name: 'haproxy',
  topologies: ['one-hop'],
  find: () =>
    findProgram(
      'haproxy',
      () => /version (\S+)/.exec(spawnSync(COMMAND, ['-v'], { encoding: 'utf8' }).stdout)?.[1],
    ),
  async start({ directory, upstream, seats }) {
    const port = await freePort();
    const file = join(directory, 'haproxy.cfg');
    writeFileSync(file, config(directory, port, upstream));
    const program = await startProgram(COMMAND, ['-db', '-f', file], {
      seat: seats.proxy,
      ready: () => accepts('127.0.0.1', port),
    });
    return { url: `http://127.0.0.1:${port}`, pids: () => [program.pid], stop: program.stop };
  },
};

/** One thread. Counters are those of the statistics socket. */
function config(directory: string, port: number, upstream: Upstream): string {
  const servers = upstream.addresses
    .map(
      (address, index) =>
        `  server s${index} ${address}:${upstream.port} maxconn 1024 check inter 60s observe layer7 error-limit 5 on-error mark-down`,
    )
    .join('\n');
  return `global
  maxconn 8000
  nbthread 1
  stats socket ${directory}/haproxy.sock
defaults
  mode http
  timeout connect 2s
  timeout client 300s
  timeout server 15s
  retries 2
  retry-on conn-failure empty-response 503
  option redispatch
frontend in
  bind 127.0.0.1:${port}
  acl web hdr(host) -i ${SERVICE_HOST}
  acl canary hdr(x-canary) yes
  acl healthz path /healthz
  acl admin path_beg /admin/
  acl items path_beg /items/
  use_backend web if web canary items
  use_backend web if web healthz
  use_backend web if web admin
  use_backend web if web items
backend web
  balance leastconn
  http-reuse always
  option forwardfor
  http-request set-header X-Request-ID %[uuid()]
  http-request set-header X-Forwarded-Proto http
${servers}
`;
}
