import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import { Resolver as CaresResolver } from 'node:dns/promises';
import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import {
  dig,
  endpointSlice,
  ManifestFolder,
  type RunningDns,
  service,
  startDnsProcess,
} from './dns-process.ts';

leakCheck();
const folder = new ManifestFolder();
const endpoints = Array.from({ length: 200 }, (_, index) => ({ addresses: [`10.244.1.${index + 1}`] }));
folder.write('objects.yaml', [
  service('shop', 'web', { clusterIPs: ['10.96.1.1', 'fd10:96::11'], ports: [{ name: 'http', port: 80 }] }),
  service('shop', 'many', { clusterIP: 'None', ports: [{ name: 'pg', port: 5432 }] }),
  service('shop', 'outside', { type: 'ExternalName', externalName: 'www.example.test' }),
  endpointSlice('shop', 'many', [{ name: 'pg', port: 5432 }], endpoints),
]);
/** The world: answers every name with 192.0.2.1. */
const world = dgram.createSocket('udp4');
let asked = 0;
let dns: RunningDns;

before(async () => {
  world.on('message', (bytes, from) => {
    asked++;
    const end = bytes.indexOf(0, 12) + 5;
    const head = Buffer.from(bytes.subarray(0, end));
    head.writeUInt16BE(0x8180, 2);
    head.writeUInt16BE(1, 6);
    head.writeUInt16BE(0, 10);
    const record = Buffer.from('c00c000100010000003c0004c0000201', 'hex');
    world.send(Buffer.concat([head, record]), from.port, from.address);
  });
  await new Promise<void>((resolve) => world.bind(0, '127.0.0.1', resolve));
  dns = await startDnsProcess(folder, { upstreams: [`127.0.0.1:${world.address().port}`] });
});
after(async () => {
  await dns.stop();
  await new Promise<void>((resolve) => world.close(() => resolve()));
  folder.remove();
});

test('dig reads every kind of answer, and comes back over TCP for a long one', async () => {
  assert.match(await dig(dns.port, '+short', 'WeB.shop.svc.cluster.local'), /^10\.96\.1\.1$/m);
  assert.match(await dig(dns.port, '+short', '-x', 'fd10:96::11'), /^web\.shop\.svc\.cluster\.local\.$/m);
  assert.match(await dig(dns.port, 'nobody.shop.svc.cluster.local'), /status: NXDOMAIN/);
  const many = await dig(dns.port, 'many.shop.svc.cluster.local');
  assert.match(many, /Truncated, retrying in TCP mode/);
  assert.match(many, /ANSWER: 200,/);
  assert.match(await dig(dns.port, '+ignore', '+noedns', 'many.shop.svc.cluster.local'), /flags: qr aa tc/);
});

test('an ExternalName is followed upstream, and the second answer comes from the cache', async () => {
  const before = asked;
  for (let round = 0; round < 2; round++) {
    const answer = await dig(dns.port, '+short', 'outside.shop.svc.cluster.local');
    assert.equal(answer, 'www.example.test.\n192.0.2.1\n');
  }
  assert.equal(asked, before + 1);
  assert.match(await dig(dns.port, '+short', 'www.example.test'), /^192\.0\.2\.1$/m);
  assert.equal(asked, before + 1);
});

test("c-ares and Go's resolver agree", { timeout: 120_000 }, async () => {
  const cares = new CaresResolver();
  cares.setServers([`127.0.0.1:${dns.port}`]);
  assert.deepEqual(await cares.resolve4('web.shop.svc.cluster.local'), ['10.96.1.1']);
  const [srv] = await cares.resolveSrv('_http._tcp.web.shop.svc.cluster.local');
  assert.deepEqual([srv?.name, srv?.port], ['web.shop.svc.cluster.local', 80]);
  const source = join(folder.path, 'go');
  mkdirSync(source);
  writeFileSync(join(source, 'main.go'), GO_CLIENT);
  const go = spawnSync('go', ['run', 'main.go', String(dns.port)], { cwd: source, encoding: 'utf8' });
  assert.equal(go.stdout, '10.96.1.1 fd10:96::11 200 web.shop.svc.cluster.local. true\n', go.stderr);
});

test('a change is answered within a second', async () => {
  folder.write('more.yaml', [service('shop', 'late', { clusterIP: '10.96.1.2', ports: [{ port: 80 }] })]);
  await eventually(
    async () => (await dig(dns.port, '+short', 'late.shop.svc.cluster.local')) === '10.96.1.2\n',
    {
      ...{ deadlineMs: 1_000, what: 'the new Service is answered' },
    },
  );
});

test('garbage, floods of it and half questions leave the others unharmed', async () => {
  const noise = dgram.createSocket('udp4');
  for (let index = 0; index < 5_000; index++) {
    const bytes = Buffer.from(Array.from({ length: index % 200 }, () => Math.floor(Math.random() * 256)));
    noise.send(bytes, dns.port, '127.0.0.1');
    if (index % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const halves = Array.from({ length: 70 }, () => {
    const socket = net.connect(dns.port, '127.0.0.1', () => socket.write(Buffer.from([1, 0, 7])));
    socket.on('error', () => {});
    return socket;
  });
  await eventually(() => halves.filter((socket) => socket.destroyed).length >= 6, {
    ...{ deadlineMs: 5_000, what: 'connections above the limit of one client are closed' },
  });
  const health = await fetch(`http://127.0.0.1:${dns.metricsPort}/readyz`, {
    headers: { connection: 'close' },
  });
  assert.equal(await health.text(), 'ok\n');
  const metrics = await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`, {
    headers: { connection: 'close' },
  });
  assert.match(await metrics.text(), /heddle_dns_dropped_total\{reason="connections-full"\} [1-9]/);
  assert.match(await dig(dns.port, '+short', 'web.shop.svc.cluster.local'), /^10\.96\.1\.1$/m);
  for (const socket of halves) socket.destroy();
  await new Promise<void>((resolve) => noise.close(() => resolve()));
});

const GO_CLIENT = `package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

func main() {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+os.Args[1])
	}}
	ctx := context.Background()
	web, _ := resolver.LookupHost(ctx, "web.shop.svc.cluster.local.")
	many, _ := resolver.LookupHost(ctx, "many.shop.svc.cluster.local.")
	names, _ := resolver.LookupAddr(ctx, "10.96.1.1")
	_, err := resolver.LookupHost(ctx, "nobody.shop.svc.cluster.local.")
	dnsError, _ := err.(*net.DNSError)
	fmt.Println(web[0], web[1], len(many), names[0], dnsError != nil && dnsError.IsNotFound)
}
`;
