// Tells of itself, and asks others: GET /self, GET /ask?url=…
import { execSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';

const text = (path) => readFileSync(path, 'utf8');

function self(request) {
  return {
    hostname: hostname(),
    uid: process.getuid(),
    gid: process.getgid(),
    client: request.socket.remoteAddress.replace('::ffff:', ''),
    env: process.env,
    resolvConf: text('/etc/resolv.conf'),
    hosts: text('/etc/hosts'),
    capabilities: /^CapEff:\s*(\w+)$/m.exec(text('/proc/self/status'))[1],
    cgroup: /^0::(.*)$/m.exec(text('/proc/self/cgroup'))[1],
    links: execSync('ls /sys/class/net', { encoding: 'utf8' }).trim().split('\n'),
    settings: tryTo(() => writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')),
    scratch: tryTo(() => writeFileSync(`${process.env.SCRATCH ?? '/nowhere'}/file`, 'x')),
    sockets: execSync('ls /run/heddle', { encoding: 'utf8' }).trim().split('\n'),
  };
}

function tryTo(task) {
  try {
    task();
    return 'done';
  } catch (error) {
    return error.code;
  }
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://self');
  try {
    if (url.pathname === '/self') response.end(JSON.stringify(self(request)));
    else if (url.pathname === '/ask') {
      const answer = await fetch(url.searchParams.get('url'), { signal: AbortSignal.timeout(3_000) });
      response.end(JSON.stringify({ status: answer.status, text: await answer.text() }));
    } else response.end('ok\n');
  } catch (error) {
    response.end(JSON.stringify({ error: error.cause?.code ?? error.message }));
  }
});
server.listen(8080, '::');
process.on('SIGTERM', () => process.exit(0));
