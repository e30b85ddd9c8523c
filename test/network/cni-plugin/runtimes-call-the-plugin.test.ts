import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { heddleConflist } from '../../../cni/agent/cni/conflist.ts';
import { CniError } from '../../../cni/agent/cni/handler.ts';
import { CNI_VERSIONS } from '../../../cni/agent/cni/versions.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type GoTools, goTools } from './go-tools.ts';
import { NodeSide, PLUGIN_FOLDER } from './node-side.ts';
import { Runtime } from './runtime.ts';

leakCheck();

const run = promisify(execFile);
const found = goTools();
const skip = typeof found === 'string' ? found : false;
const tools: GoTools = typeof found === 'string' ? { cnitool: '', runtime: '' } : found;

test('all tools are there where everything must be proven', () => {
  if (process.env.HEDDLE_REQUIRE_ALL_TIERS === '1') assert.equal(skip, false);
});

function conflistOf(socket: string, version: string): string {
  return JSON.stringify({
    ...JSON.parse(heddleConflist(socket)),
    cniVersion: version,
    cniVersions: undefined,
  });
}

const ARGS = [
  ['IgnoreUnknown', '1'],
  ['K8S_POD_NAMESPACE', 'shop'],
  ['K8S_POD_NAME', 'web-1'],
];

test('libcni adds, checks, collects and deletes, and keeps results', { skip }, async () => {
  await using node = new NodeSide();
  await node.start();
  await using runtime = new Runtime(tools, heddleConflist(node.socket));
  const pod = { container: 'c1', netns: node.netns, args: ARGS };
  const validated = await runtime.ask({ do: 'VALIDATE' });
  assert.deepEqual(
    [validated.names, validated.version, validated.error],
    [['portMappings'], '1.1.0', undefined],
  );
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }];
  const capabilities = { portMappings, bandwidth: { ingressRate: 1 } };
  const added = await runtime.ask({ do: 'ADD', ...pod, capabilities });
  assert.equal(added.error, undefined);
  assert.equal(added.version, '1.1.0');
  assert.deepEqual(added.cached, added.result);
  assert.deepEqual(
    node.handler.adds[0]?.hostPorts.map(({ hostPort }) => hostPort),
    [8080],
  );
  assert.deepEqual(node.handler.adds[0]?.pod, { namespace: 'shop', name: 'web-1', uid: undefined });
  for (const step of ['STATUS', 'CHECK'])
    assert.equal((await runtime.ask({ do: step, ...pod })).error, undefined);
  assert.deepEqual(
    node.handler.checks[0]?.prevResult.ips.map(({ address }) => address),
    ['10.244.1.2/32', 'fd10:244:0:1::2/128'],
  );
  await runtime.ask({ do: 'ADD', ...pod, container: 'c2' });
  const gc = await runtime.ask({ do: 'GC', valid: [{ containerID: 'c1', ifname: 'eth0' }] });
  assert.equal(gc.error, undefined);
  assert.deepEqual(
    node.handler.dels.map(({ containerId }) => containerId),
    ['c2'],
  );
  assert.deepEqual(node.handler.gcs, [{ network: 'heddle', valid: [{ containerId: 'c1', ifname: 'eth0' }] }]);
  assert.deepEqual((await runtime.ask({ do: 'ATTACHMENTS' })).names, ['c1']);
  await runtime.ask({ do: 'GC' });
  assert.deepEqual(node.handler.gcs[1], { network: 'heddle', valid: [] });
  for (let again = 0; again < 2; again++)
    assert.equal((await runtime.ask({ do: 'DEL', ...pod })).error, undefined);
  assert.equal((await runtime.ask({ do: 'ATTACHMENTS' })).names, undefined);
});

test('every version that is offered is understood by libcni', { skip }, async () => {
  await using node = new NodeSide();
  await node.start();
  for (const version of CNI_VERSIONS) {
    await using runtime = new Runtime(tools, conflistOf(node.socket, version));
    const pod = { container: `v${version}`, netns: node.netns, args: ARGS };
    assert.equal((await runtime.ask({ do: 'VALIDATE' })).version, version);
    const added = await runtime.ask({ do: 'ADD', ...pod });
    assert.deepEqual([added.error, added.version], [undefined, version]);
    const ips = added.result?.ips as readonly { version?: string }[];
    assert.equal(ips[0]?.version, version === '0.3.1' || version === '0.4.0' ? '4' : undefined);
    const check = await runtime.ask({ do: 'CHECK', ...pod });
    if (version === '0.3.1') assert.match(check.error ?? '', /does not support the CHECK command/);
    else assert.equal(check.error, undefined);
    for (const step of ['STATUS', 'GC', 'DEL'])
      assert.equal((await runtime.ask({ do: step, ...pod })).error, undefined);
  }
});

test('libcni hears refusals with their codes, and deletes without an agent', { skip }, async () => {
  await using node = new NodeSide();
  await using runtime = new Runtime(tools, heddleConflist(node.socket));
  const pod = { container: 'c1', netns: node.netns };
  assert.equal((await runtime.ask({ do: 'ADD', ...pod })).code, 11);
  assert.equal((await runtime.ask({ do: 'STATUS' })).code, 50);
  assert.equal((await runtime.ask({ do: 'DEL', ...pod })).error, undefined);
  assert.deepEqual(readdirSync(node.deleted), ['c1@eth0']);
  await node.start();
  node.handler.before = () => {
    throw new CniError(51, 'broken', 'in this way');
  };
  const status = await runtime.ask({ do: 'STATUS' });
  assert.deepEqual([status.code, status.error], [51, 'broken; in this way']);
});

test('libcni adds 50 pods at once within 2 s', { skip }, async () => {
  await using node = new NodeSide();
  await node.start();
  await using runtime = new Runtime(tools, heddleConflist(node.socket));
  const many = Array.from({ length: 50 }, (_, index) => ({ container: `c-${index}`, netns: node.netns }));
  const said = await runtime.ask({ do: 'ADD-MANY', many });
  assert.equal(said.error, undefined);
  assert.equal(new Set(node.handler.adds.map(({ containerId }) => containerId)).size, 50);
  assert.ok(said.took < 2_000, `${said.took} ms`);
});

test('cnitool adds, checks, deletes, collects and asks for the status', { skip }, async () => {
  await using node = new NodeSide();
  await node.start();
  const conf = join(node.directory, 'net.d');
  mkdirSync(conf);
  writeFileSync(join(conf, '05-heddle.conflist'), heddleConflist(node.socket));
  // Its results are in /var/lib/cni until its DEL, under a name made of the path of the namespace.
  const env = { PATH: '/usr/bin:/bin', CNI_PATH: PLUGIN_FOLDER, NETCONFPATH: conf };
  const cnitool = (...args: string[]) => run(tools.cnitool, [...args, 'heddle', node.netns], { env });
  try {
    const added = JSON.parse((await cnitool('add')).stdout);
    assert.equal(added.ips[0].address, '10.244.1.2/32');
    for (const command of ['check', 'status']) assert.equal((await cnitool(command)).stdout, '');
    assert.equal(node.handler.checks.length, 1);
  } finally {
    await cnitool('del');
  }
  assert.equal(node.handler.dels.length, 1);
  await cnitool('gc');
  assert.deepEqual(node.handler.gcs, [], 'without a list of valid attachments nothing is known to be stale');
  node.handler.before = () => {
    throw new CniError(50, 'no address is left');
  };
  await assert.rejects(cnitool('status'), /no address is left/);
});
