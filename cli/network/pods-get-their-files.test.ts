import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { podSpecOf } from '../local/pod-spec.ts';
import { hostNameOf, hostsFile, resolvConf } from './pod-files.ts';
import { PodSandbox } from './sandbox.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-sandbox-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const pod = (spec: Record<string, JsonValue>): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web-1', namespace: 'shop', uid: 'u' }, spec },
});
const MACHINE = 'nameserver 192.0.2.53 # ours\nsearch example.com\noptions ndots:1 edns0\n';

test('cluster names come first, the machine’s search paths behind', () => {
  assert.equal(
    resolvConf(pod({}), MACHINE),
    'nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.com\noptions ndots:5\n',
  );
});

test('a policy of Default, one of None and a pod of the node’s network get what they ask for', () => {
  assert.equal(
    resolvConf(pod({ dnsPolicy: 'Default' }), MACHINE),
    'nameserver 192.0.2.53\nsearch example.com\noptions ndots:1 edns0\n',
  );
  assert.match(resolvConf(pod({ hostNetwork: true }), MACHINE), /^nameserver 192\.0\.2\.53\n/);
  assert.match(
    resolvConf(pod({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }), MACHINE),
    /^nameserver 10\.96\.0\.10\n/,
  );
  const dnsConfig = {
    ...{ nameservers: ['192.0.2.1'], searches: ['a.test'] },
    options: [{ name: 'ndots', value: '2' }, { name: 'rotate' }],
  };
  assert.equal(
    resolvConf(pod({ dnsPolicy: 'None', dnsConfig }), MACHINE),
    'nameserver 192.0.2.1\nsearch a.test\noptions ndots:2 rotate\n',
  );
  const merged = resolvConf(pod({ dnsConfig }), MACHINE);
  assert.match(merged, /^nameserver 10\.96\.0\.10\nnameserver 192\.0\.2\.1\n/);
  assert.match(merged, /\noptions ndots:2 rotate\n$/, 'its ndots is above the cluster’s');
});

test('no more nameservers and search paths than resolvers take', () => {
  const many = (what: string) => Array.from({ length: 50 }, (_, index) => `${what}${index}`);
  const text = resolvConf(pod({ dnsConfig: { nameservers: many('192.0.2.'), searches: many('s') } }), '');
  assert.equal(text.match(/^nameserver/gm)?.length, 3);
  assert.equal(/^search (.*)$/m.exec(text)?.[1]?.split(' ').length, 32);
});

test('a pod knows itself by its own name, its subdomain and its aliases', () => {
  const named = pod({
    ...{ hostname: 'db-0', subdomain: 'db' },
    hostAliases: [{ ip: '192.0.2.7', hostnames: ['old', 'older'] }],
  });
  const text = hostsFile(named, ['10.244.1.2', 'fd10:244:0:1::2'], '');
  assert.match(text, /^10\.244\.1\.2\tdb-0\.db\.shop\.svc\.cluster\.local\tdb-0$/m);
  assert.match(text, /^fd10:244:0:1::2\tdb-0\.db\.shop\.svc\.cluster\.local\tdb-0$/m);
  assert.match(text, /^192\.0\.2\.7\told\tolder$/m);
  assert.match(hostsFile(pod({}), ['10.244.1.2'], ''), /^10\.244\.1\.2\tweb-1$/m);
  assert.equal(
    hostsFile(pod({ hostNetwork: true }), ['192.0.2.9'], '127.0.0.1 machine\n'),
    '127.0.0.1 machine\n',
  );
  assert.equal(hostNameOf(pod({ hostNetwork: true }), 'node-1'), 'node-1');
  assert.equal(hostNameOf(pod({ hostname: `${'a'.repeat(62)}-b` }), ''), 'a'.repeat(62));
});

function sandbox(spec: Record<string, JsonValue>) {
  const object = pod(spec);
  const made = new PodSandbox({
    ...{ pod: object, ips: ['10.244.1.2'], nodeName: 'node-1', netns: '/run/netns/x' },
    ...{
      cgroup: join(root, 'cgroup'),
      directory: join(root, 'sandbox'),
      trustDirectory: join(root, 'trust'),
    },
    programDirectories: ['/root/heddle', '/root/heddle/node_modules/node/bin', '/root/shop'],
    machine: { resolvConf: MACHINE, hosts: '127.0.0.1 machine\n' },
  });
  const [container] = podSpecOf(object).containers;
  assert.ok(container !== undefined);
  return { made, container };
}

test('volumes are readable by every user of the pod, and an emptyDir is written to by all', () => {
  const { made } = sandbox({
    volumes: [{ name: 'scratch', emptyDir: {} }, { name: 'token' }],
    containers: [{}],
  });
  const folder = (name: string) => {
    mkdirSync(join(root, name, 'deep'), { recursive: true, mode: 0o700 });
    writeFileSync(join(root, name, 'deep', 'file'), 'x', { mode: 0o600 });
    return join(root, name);
  };
  const volumes = new Map(['scratch', 'token'].map((name) => [name, folder(name)]));
  made.open(volumes);
  const mode = (...path: string[]) => statSync(join(root, ...path)).mode & 0o777;
  assert.deepEqual(
    [mode('scratch'), mode('token'), mode('token', 'deep'), mode('token', 'deep', 'file')],
    [0o777, 0o755, 0o755, 0o644],
  );
  const binds = readFileSync(join(root, 'sandbox', 'binds'), 'utf8');
  assert.match(binds, new RegExp(`^${root}/token\t/run/heddle/volumes/token$`, 'm'));
  assert.match(binds, new RegExp(`^${root}/trust\t/run/heddle/trust$`, 'm'));
});

test('a user other than root is given paths that he may walk', () => {
  const launch = {
    ...{
      command: '/root/heddle/node_modules/node/bin/node',
      args: ['/root/heddle/proxy/main.ts', '/rooted'],
    },
    ...{ cwd: '/root/shop', env: { PATH: '/root/heddle/node_modules/node/bin:/usr/bin', HOME: '/root' } },
  };
  const other = sandbox({ containers: [{ name: 'app', securityContext: { runAsUser: 5 } }] });
  const { command, args, env } = other.made.enter(other.container, launch);
  assert.equal(command, '/bin/sh');
  assert.ok(args.includes('/run/heddle/programs/2'), 'the working folder');
  assert.deepEqual(args.slice(-4), [
    'PATH=/run/heddle/programs/1:/usr/bin',
    '/run/heddle/programs/1/node',
    '/run/heddle/programs/0/proxy/main.ts',
    '/rooted',
  ]);
  assert.equal(env.HOME, '/');
  const asRoot = sandbox({ containers: [{ name: 'app' }] });
  const kept = asRoot.made.enter(asRoot.container, launch);
  assert.deepEqual(kept.args.slice(-3), [launch.command, ...launch.args]);
});
