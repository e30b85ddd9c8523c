import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { AppliedObjects, carriedOver } from './applied.ts';
import { LogFile, logBytesMax } from './log-file.ts';
import { bootTimeMs, isSameProcess, processStartTime } from './process-identity.ts';
import { appliedFolder, makeStateDirectories, readMeshFile, statePaths, writeMeshFile } from './state-dir.ts';
import { openTokenIssuer, tokenTtlMs } from './token-issuer.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-state-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

const mode = (path: string) => statSync(path).mode & 0o777;
const mesh = {
  ...{ name: 'default', pid: 42, startTime: '7', network: 'loopback' as const, nodes: 2, manifests: '/m' },
  ...{ dashboard: 'http://127.0.0.1:1', controlPlane: '127.0.0.1:2', startedAt: '2026-01-01T00:00:00Z' },
  phase: 'ready',
};

test('the state directory is where the environment, the name or the option says', () => {
  assert.equal(statePaths({ XDG_STATE_HOME: '/x' }, 'a', undefined).root, '/x/heddle/a');
  assert.equal(statePaths({ HOME: '/home/me' }, 'a', undefined).root, '/home/me/.local/state/heddle/a');
  assert.equal(
    statePaths({ XDG_STATE_HOME: '', HOME: '/h' }, 'a', undefined).root,
    '/h/.local/state/heddle/a',
  );
  assert.equal(statePaths({}, 'a', '/elsewhere').root, '/elsewhere');
});

test('a name that could leave the directory is refused', () => {
  for (const name of ['../x', 'A', '', 'a/b', '-a', 'x'.repeat(64)])
    assert.throws(() => statePaths({}, name, undefined), { code: 'usage' }, name);
});

test('folders and files are for their owner alone', () => {
  const paths = statePaths({}, 'default', join(root, 'state'));
  makeStateDirectories(paths);
  writeMeshFile(paths, mesh);
  openTokenIssuer(new VirtualClock(), paths.tokenKeyFile);
  for (const folder of [paths.root, paths.applied, paths.runtime, paths.controlPlane, paths.pods, paths.logs])
    assert.equal(mode(folder), 0o700, folder);
  assert.equal(mode(paths.meshFile), 0o600);
  assert.equal(mode(paths.tokenKeyFile), 0o600);
});

test('the mesh file is read back, and one that is broken or absent counts as none', () => {
  const paths = statePaths({}, 'default', root);
  assert.equal(readMeshFile(paths), undefined);
  writeMeshFile(paths, mesh);
  assert.deepEqual(readMeshFile(paths), mesh);
  for (const text of ['{"pid": 4', '[]', '{"name": "x"}', '']) {
    writeFileSync(paths.meshFile, text);
    assert.equal(readMeshFile(paths), undefined, text);
  }
});

test('a process is known by its pid and start time together', () => {
  const startTime = processStartTime(process.pid) ?? assert.fail('this process has no start time');
  assert.equal(isSameProcess(process.pid, startTime), true);
  assert.equal(isSameProcess(process.pid, '1'), false);
  assert.equal(processStartTime(2 ** 22 + 1), undefined);
  assert.ok(bootTimeMs() > 0);
});

test('tokens say whose they are, expire, and are signed by the key in the file', async () => {
  const clock = new VirtualClock();
  const file = join(root, 'key');
  const issuer = openTokenIssuer(clock, file);
  const subject = { namespace: 'shop', serviceAccount: 'web', podName: 'web-1', podUid: 'u' };
  const [head = '', body = '', signature = ''] = issuer.issue(subject).split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
  assert.equal(claims.sub, 'system:serviceaccount:shop:web');
  assert.deepEqual(claims.aud, ['heddle-ca']);
  assert.equal(claims.exp - claims.iat, tokenTtlMs / 1_000);
  assert.equal(claims['kubernetes.io'].pod.name, 'web-1');
  const { verify } = await import('node:crypto');
  const again = openTokenIssuer(clock, file);
  assert.equal(again.publicKeyPem, issuer.publicKeyPem, 'the key is kept');
  const good = verify(
    'sha256',
    Buffer.from(`${head}.${body}`),
    { key: again.publicKeyPem, dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url'),
  );
  assert.equal(good, true);
});

test('a log turns over at its limit and keeps one older file', () => {
  const path = join(root, 'logs', 'app.log');
  const log = new LogFile(path, 10);
  log.startRun();
  for (const text of ['12345', '67890', 'abcde']) log.write(Buffer.from(text));
  assert.equal(readFileSync(path, 'utf8'), 'abcde');
  assert.equal(readFileSync(`${path}.1`, 'utf8'), '1234567890');
  log.write(Buffer.from('x'.repeat(25)));
  assert.equal(statSync(path).size, 10, 'of a piece larger than the limit the end is kept');
  log.close();
  assert.ok(logBytesMax > 0);
});

test('a new run keeps the log of the run before it', () => {
  const path = join(root, 'app.log');
  const log = new LogFile(path);
  log.startRun();
  log.write(Buffer.from('first'));
  log.startRun();
  log.write(Buffer.from('second'));
  log.close();
  assert.equal(readFileSync(path, 'utf8'), 'second');
  assert.equal(readFileSync(`${path}.previous`, 'utf8'), 'first');
});

const NOW_MS = Date.UTC(2026, 0, 1);
const route = (value: number) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'r', namespace: 'shop' },
  spec: { value },
});

test('applied objects are created, configured, unchanged and taken away', () => {
  const applied = new AppliedObjects(join(root, 'applied'));
  assert.equal(applied.put(route(1), undefined, NOW_MS), 'created');
  assert.equal(applied.put(route(1), route(1), NOW_MS), 'unchanged');
  assert.equal(applied.put(route(2), route(1), NOW_MS), 'configured');
  assert.equal(applied.has(route(2)), true);
  assert.match(readFileSync(applied.fileOf(route(2)), 'utf8'), /creationTimestamp: "2026-01-01T00:00:00/);
  applied.remove(route(2), false);
  assert.equal(existsSync(applied.fileOf(route(2))), false);
});

test('an object of the manifests is configured over them and hidden when deleted', () => {
  const applied = new AppliedObjects(join(root, 'applied'));
  assert.equal(applied.put(route(1), { ...route(1), status: { seen: true } }, NOW_MS), 'unchanged');
  assert.equal(applied.has(route(1)), false, 'nothing is written for what is there already');
  assert.equal(applied.put(route(2), route(1), NOW_MS), 'configured');
  assert.doesNotMatch(
    readFileSync(applied.fileOf(route(2)), 'utf8'),
    /creationTimestamp/,
    'it is as old as it was',
  );
  applied.remove(route(2), true);
  assert.match(readFileSync(applied.fileOf(route(2)), 'utf8'), /heddle\.dev\/deleted: "true"/);
  assert.equal(applied.put(route(1), undefined, NOW_MS), 'created');
});

test('what was applied over one folder is never met by the mesh of another, and is told of', () => {
  const paths = statePaths({}, 'default', join(root, 'over'));
  assert.notEqual(appliedFolder(paths, '/a/shop'), appliedFolder(paths, '/b/shop'));
  assert.equal(appliedFolder(paths, '/a/shop/'), appliedFolder(paths, '/a/shop'));
  const folder = appliedFolder(paths, '/a/shop');
  const applied = new AppliedObjects(folder);
  applied.put(route(1), undefined, NOW_MS);
  const other = { ...route(1), metadata: { name: 'gone', namespace: 'shop' } };
  applied.remove(other, true);
  const lines = carriedOver(folder);
  assert.match(lines[0] ?? '', /in force from an earlier "heddle apply": HTTPRoute shop\/r \(rm -r /);
  assert.match(lines[1] ?? '', /hidden by an earlier "heddle delete": HTTPRoute shop\/gone \(/);
  applied.remove(route(1), false);
  assert.equal(carriedOver(folder).length, 1);
});
