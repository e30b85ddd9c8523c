import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { processStartTime } from '../../cli/local/process-identity.ts';
import { makeStateDirectories, statePaths, writeMeshFile } from '../../cli/local/state-dir.ts';
import { nodePaths, runDirectory } from '../../cli/network/layout.ts';
import { type AdminServer, startAdmin } from '../../cni/agent/admin/server.ts';
import { DIRECTION, PROTOCOL } from '../../cni/maps/constants.ts';
import { DROP } from '../../cni/maps/drops.ts';
import { systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { AgentWorld, dropBytes } from '../support/agent-world.ts';
import { leakCheck } from '../support/leak-check.ts';
import { networkPolicy } from '../support/policy-objects.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const deadlineMs = 15_000;
const POLICIES = [
  networkPolicy('deny-all', { podSelector: {}, policyTypes: ['Ingress'] }),
  networkPolicy('db', {
    podSelector: { matchLabels: { app: 'db' } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: 'web' } } }], ports: [{ port: 5432 }] }],
  }),
];

let folder: string;
let socket: string;
let world: AgentWorld;
let admin: AdminServer;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-cni-cli-'));
  socket = join(folder, 'admin.sock');
  world = new AgentWorld(systemClock, POLICIES);
  admin = await startAdmin({ socket, view: world, clock: systemClock, log: silentLogger });
  world.drops.take(dropBytes(systemClock, { set: world.setOf('db', 'ingress'), ageMs: 60_000 }));
  world.drops.take(
    dropBytes(systemClock, {
      ...{ source: '10.244.1.5', destination: '2001:db8::1', destinationPort: 53, protocol: PROTOCOL.UDP },
      ...{ direction: DIRECTION.EGRESS, reason: DROP.NO_ROUTE.code },
    }),
  );
});
after(async () => {
  await admin.close();
  world.drops.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(args: readonly string[]) {
  const env = { PATH: process.env.PATH, HOME: folder, NO_COLOR: '1' };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ran = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    ran.out += String(chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    ran.err += String(chunk);
  });
  return { child, ran };
}

async function heddle(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { child, ran } = start(args);
  const [code] = await once(child, 'close');
  return { code: Number(code), ...ran };
}

const here = (...args: string[]) => heddle(...args, '--admin-socket', socket);

test('the status names each node, and what is not as it should be', async () => {
  const { code, out, err } = await here('cni', 'status');
  assert.equal(code, 0);
  assert.match(
    out,
    /^NODE +MODE +READY +PODS +MESHED +SIDECARS +ADDRESSES +POLICIES +SERVICES +DROPS +REPAIRED\n/,
  );
  assert.match(out, /^n1 +tunnel +yes +2 +1 +1 +2\/253 +2 +1 +2 +2$/m);
  assert.match(err, /n1: program connect4 is not attached to cgroup \/c/);
  const kernel = await here('cni', 'status', '--kernel');
  assert.match(kernel.out, /^n1 +endpoint_map +7 +7 +0 +0 +0 +131072$/m);
});

test('endpoints, Services and capture are tables, or JSON with the node of each item', async () => {
  const [endpoints, wide, services, capture] = await Promise.all([
    here('cni', 'endpoints', '-n', 'shop'),
    here('cni', 'endpoints', '-o', 'wide', '--kernel'),
    here('cni', 'services'),
    here('cni', 'capture', '-o', 'json'),
  ]);
  assert.match(endpoints.out, /^n1 +10\.244\.1\.5 +pod +shop\/web +here +yes$/m);
  assert.match(endpoints.out, /^n1 +10\.244\.1\.6 +pod +shop\/db +here +no$/m);
  assert.match(endpoints.out, /^n1 +10\.244\.2\.7 +pod +shop\/far +172\.31\.0\.12 +-$/m);
  assert.doesNotMatch(endpoints.out, /172\.31\.0\.11/, 'only pods of the namespace');
  assert.match(wide.out, /hdl3 +02:00:00:00:00:03 +same$/m);
  assert.match(
    services.out,
    /^n1 +Service shop\/web +cluster-ip +10\.96\.1\.1:80\/TCP +internal +10\.244\.1\.5:8080$/m,
  );
  assert.match(services.out, /^n1 +the node's DNS +dns +10\.96\.0\.10:53\/UDP +internal +this node$/m);
  assert.match(services.out, /node-port +node\(IPv4\):30080\/TCP +external/);
  const { items } = JSON.parse(capture.out);
  assert.deepEqual(
    items.map((item: { node: string; pod: string }) => [item.node, item.pod]),
    [
      ['n1', 'shop/web'],
      ['n1', 'shop/db'],
    ],
  );
});

test('policies are told for each pod and direction', async () => {
  const { out } = await here('cni', 'policy');
  assert.match(
    out,
    / {2}ingress {2}isolated by shop\/db, shop\/deny-all\n +allows TCP\/5432 from pods app=web in shop {2}\[shop\/db rule 0\]/,
  );
  assert.match(out, / {2}ingress {2}isolated by shop\/deny-all\n +nothing is allowed/);
  assert.match(out, / {2}egress {3}open: no policy isolates it/);
  assert.match(
    (await here('cni', 'policy', '-o', 'yaml')).out,
    /^items:\n {2}- node: n1\n {4}pod: shop\/db\n/,
  );
});

test('whether a connection is allowed is an exit code, and every direction says why', async () => {
  const allowed = await here('cni', 'policy', '--from', 'shop/web', '--to', 'shop/db', '--port', '5432');
  assert.equal(allowed.code, 0);
  assert.match(allowed.out, /^allowed: shop\/web \(10\.244\.1\.5\) → shop\/db \(10\.244\.1\.6\) TCP\/5432\n/);
  assert.match(allowed.out, /ingress +allowed +allowed by NetworkPolicy shop\/db, ingress rule 0/);
  const denied = await here(
    'cni',
    'policy',
    '--from',
    '10.244.2.7',
    '--to',
    'shop/db',
    '--port',
    '5432',
    '-o',
    'json',
  );
  assert.equal(denied.code, 1);
  const verdict = JSON.parse(denied.out);
  assert.deepEqual([verdict.allowed, verdict.from.name, verdict.ingress.allowed], [false, 'shop/far', false]);
});

test('drops are lines in order of time, with both ends, the port and the policies', async () => {
  const { code, out } = await here('drops');
  assert.equal(code, 0);
  const [header, first, second, ...rest] = out.trimEnd().split('\n');
  assert.match(header ?? '', /^TIME +DIRECTION +REASON +FROM +TO +PACKETS +POLICIES$/);
  assert.match(
    first ?? '',
    /Z +ingress +policy +shop\/far +→ shop\/db:8080\/TCP +1 +shop\/db,shop\/deny-all$/,
  );
  assert.match(second ?? '', /Z +egress +no-route +shop\/web +→ 2001:db8::1 port 53\/UDP +1 +-$/);
  assert.deepEqual(rest, []);
  const [recent, reason, pod, json] = await Promise.all([
    here('drops', '--since', '30s'),
    here('drops', '--reason', 'policy', '-o', 'wide'),
    here('drops', '--pod', 'shop/db', '--tail', '5'),
    here('drops', '-o', 'json', '-n', 'elsewhere'),
  ]);
  assert.doesNotMatch(recent.out, /shop\/far/);
  assert.match(reason.out, /shop\/far \(10\.244\.2\.7\).*no rule of a NetworkPolicy allows it$/m);
  assert.match(pod.out, /shop\/far/);
  assert.deepEqual(JSON.parse(json.out), { items: [] });
});

test('drops are followed until Ctrl-C', async () => {
  const { child, ran } = start(['drops', '-f', '-o', 'json', '--tail', '1', '--admin-socket', socket]);
  const lines = () =>
    ran.out
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '');
  await eventually(() => lines().length === 1, { deadlineMs, what: 'the last one is shown' });
  world.drops.take(dropBytes(systemClock, { destinationPort: 4_242 }));
  await eventually(() => lines().length === 2, { deadlineMs, what: 'the new one follows' });
  assert.equal(JSON.parse(lines()[1] ?? '').to.port, 4_242);
  child.kill('SIGINT');
  assert.deepEqual((await once(child, 'close'))[0], 0);
  assert.equal(ran.err, '');
});

test('a node that pods stand on is not uninstalled by mistake', async () => {
  const refused = await here('cni', 'uninstall');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /2 pods are attached.*use --force/);
  assert.equal(world.uninstalls, 0);
  const gone = await heddle('cni', 'uninstall', '--admin-socket', join(folder, 'absent'));
  assert.equal(gone.code, 3);
  assert.match(gone.err, /doesn't run.*heddle-cni-agent --uninstall/);
  const forced = await here('cni', 'uninstall', '--force');
  assert.deepEqual([forced.code, world.uninstalls], [0, 1]);
  assert.match(forced.out, /removed device heddle_vxlan/);
});

const WRONG: readonly (readonly [string, readonly string[], number, RegExp])[] = [
  ['no subcommand', ['cni'], 2, /say what to show/],
  ['a slip', ['cni', 'polcy'], 2, /did you mean "policy"/],
  ['an option of another subcommand', ['cni', 'status', '--force'], 2, /--force belongs to "cni uninstall"/],
  ['half a question', ['cni', 'policy', '--from', 'shop/web', '--to', 'shop/db'], 2, /--port is needed/],
  ['no mesh', ['cni', 'status', '--name', 'absent'], 3, /no mesh "absent" runs/],
  ['no agent', ['drops', '--admin-socket', '/nowhere'], 3, /doesn't run \(\/nowhere\)/],
  ['a follower without agent', ['drops', '-f', '--admin-socket', '/nowhere'], 3, /doesn't run \(\/nowhere\)/],
  ['a duration that is none', ['drops', '--since', 'noon'], 2, /--since must be a duration/],
  ['a pod without namespace', ['drops', '--pod', 'web'], 2, /--pod must be namespace\/name/],
  ['node and socket', ['drops', '--node', 'n1', '--admin-socket', '/x'], 2, /leave --node out/],
];
for (const [what, args, code, message] of WRONG)
  test(`${what} is refused with exit code ${code} and what to do`, async () => {
    const ran = await heddle(...args);
    assert.equal(ran.code, code);
    assert.match(ran.err, message);
  });

test('a reason that there is none of is refused by the agent, who names those that there are', async () => {
  const { code, err } = await here('drops', '--reason', 'polcy');
  assert.equal(code, 1);
  assert.match(err, /reason must be one of policy, spoofed, bypass/);
});

/** This very process stands for the supervisor of a mesh. */
function meshOf(name: string, network: 'ebpf' | 'loopback'): string {
  const root = join(folder, name);
  const paths = statePaths({}, name, root);
  makeStateDirectories(paths);
  writeMeshFile(paths, {
    ...{ name, pid: process.pid, startTime: processStartTime(process.pid) ?? '', network, nodes: 2 },
    ...{ manifests: root, dashboard: '', controlPlane: '', startedAt: '', phase: 'ready' },
  });
  return root;
}

test('a mesh in loopback mode has no pod network, and says how to get one', async () => {
  const root = meshOf('loop', 'loopback');
  for (const command of [['cni', 'status'], ['drops']]) {
    const { code, err } = await heddle(...command, '--state-dir', root);
    assert.equal(code, 1);
    assert.match(err, /loopback mode, which has no pod network.*--network ebpf/);
  }
});

const canMakeRun = process.getuid?.() === 0 && existsSync('/run');
test("the nodes of a local mesh are found by its name; one that doesn't answer is told beside the others", {
  skip: canMakeRun ? false : 'needs root: sockets of a mesh stand in /run/heddle',
}, async () => {
  const name = `test-${process.pid}`;
  const root = meshOf(name, 'ebpf');
  const run = runDirectory(name);
  const paths = nodePaths(run, 'node-1');
  mkdirSync(paths.root, { recursive: true });
  const own = await startAdmin({
    ...{ socket: paths.adminSocket, view: world, clock: systemClock, log: silentLogger },
  });
  try {
    const both = await heddle('cni', 'capture', '--state-dir', root);
    assert.equal(both.code, 1);
    assert.match(both.out, /^node-1 +shop\/web/m);
    assert.match(both.err, /agent of node-2 doesn't run.*heddle logs node-2-agent -n heddle-system/);
    const one = await heddle('cni', 'capture', '--state-dir', root, '--node', 'node-1');
    assert.deepEqual([one.code, one.err], [0, '']);
    const slip = await heddle('cni', 'capture', '--state-dir', root, '--node', 'nod-2');
    assert.match(slip.err, /no node "nod-2" \(did you mean "node-2"\?\)/);
  } finally {
    await own.close();
    rmSync(run, { recursive: true, force: true });
  }
});
