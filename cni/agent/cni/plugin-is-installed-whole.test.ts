import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { chainedConflist, heddleConflist } from './conflist.ts';
import { CONFLIST_FILE, type InstallPaths, installPlugin, uninstallPlugin } from './install.ts';

const SOCKET = '/run/heddle/cni.sock';
const PLUGIN_1 = `plugin 1 asks at ${SOCKET}`;
const PLUGIN_2 = `plugin 2 asks at ${SOCKET}`;
let directory: string;
let paths: InstallPaths;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-install-'));
  paths = {
    confDirectory: join(directory, 'net.d'),
    binDirectory: join(directory, 'bin'),
    plugin: join(directory, 'built'),
  };
  writeFileSync(paths.plugin, PLUGIN_1);
});

afterEach(() => rmSync(directory, { recursive: true }));

const conflist = () => JSON.parse(readFileSync(join(paths.confDirectory, CONFLIST_FILE), 'utf8'));

test('plugin and configuration are put in their places once, and again where one differs', () => {
  const binary = join(paths.binDirectory, 'heddle-cni');
  const loopback = join(paths.binDirectory, 'loopback');
  const file = join(paths.confDirectory, CONFLIST_FILE);
  assert.deepEqual(installPlugin(paths, SOCKET).changed, [binary, loopback, file]);
  assert.equal(readFileSync(binary, 'utf8'), PLUGIN_1);
  assert.equal(statSync(binary).mode & 0o777, 0o755);
  assert.equal(statSync(file).mode & 0o777, 0o644);
  assert.deepEqual(installPlugin(paths, SOCKET).changed, []);
  writeFileSync(paths.plugin, PLUGIN_2);
  const before = statSync(binary).ino;
  assert.deepEqual(installPlugin(paths, SOCKET).changed, [binary, loopback]);
  assert.notEqual(statSync(binary).ino, before, 'a running plugin keeps its file');
  assert.deepEqual(installPlugin(paths, '/run/other.sock').changed, [file]);
  assert.deepEqual(readdirSync(paths.binDirectory).toSorted(), ['heddle-cni', 'loopback']);
});

test('old runtimes read 1.0.0, new ones the newest', () => {
  const { cniVersion, cniVersions, name, plugins } = JSON.parse(heddleConflist(SOCKET));
  assert.deepEqual([cniVersion, cniVersions.at(-1), name], ['1.0.0', '1.1.0', 'heddle']);
  assert.deepEqual(plugins, [
    { type: 'heddle-cni', agentSocket: SOCKET, capabilities: { portMappings: true } },
  ]);
});

test('uninstalling leaves nothing of Heddle and all of others', () => {
  mkdirSync(paths.confDirectory);
  mkdirSync(paths.binDirectory);
  writeFileSync(join(paths.confDirectory, '10-other.conflist'), '{}');
  writeFileSync(join(paths.binDirectory, 'bridge'), 'other');
  installPlugin(paths, SOCKET);
  writeFileSync(join(paths.binDirectory, '.heddle-cni.draft'), 'half');
  assert.equal(uninstallPlugin(paths).length, 3);
  assert.deepEqual(readdirSync(paths.confDirectory), ['10-other.conflist']);
  assert.deepEqual(readdirSync(paths.binDirectory), ['bridge']);
  assert.deepEqual(uninstallPlugin(paths), []);
});

test("the machine's own loopback is used, and stays", () => {
  mkdirSync(paths.binDirectory);
  const loopback = join(paths.binDirectory, 'loopback');
  writeFileSync(loopback, 'of the package kubernetes-cni');
  installPlugin(paths, SOCKET);
  uninstallPlugin(paths);
  assert.equal(readFileSync(loopback, 'utf8'), 'of the package kubernetes-cni');
});

test("somebody else's file of that name stays", () => {
  mkdirSync(paths.confDirectory);
  const file = join(paths.confDirectory, CONFLIST_FILE);
  writeFileSync(file, '{"name":"mine","plugins":[{"type":"bridge"}]}');
  assert.deepEqual(uninstallPlugin(paths), []);
  assert.ok(existsSync(file));
});

const OTHER = {
  cniVersion: '0.4.0',
  name: 'kindnet',
  plugins: [
    { type: 'ptp', ipMasq: false },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
};

test("over another network its plugins stay, and Heddle's capture comes last, once", () => {
  mkdirSync(paths.confDirectory);
  writeFileSync(join(paths.confDirectory, '20-later.conflist'), '{}');
  writeFileSync(join(paths.confDirectory, '10-kindnet.conflist'), JSON.stringify(OTHER));
  installPlugin(paths, SOCKET, 'auto');
  const capture = { type: 'heddle-cni', mode: 'capture', agentSocket: SOCKET };
  assert.deepEqual(conflist(), { ...OTHER, plugins: [...OTHER.plugins, capture] });
  const again = chainedConflist(JSON.stringify(conflist()), SOCKET);
  assert.ok(again.ok);
  assert.deepEqual(JSON.parse(again.value), conflist());
  assert.deepEqual(installPlugin(paths, SOCKET, 'auto').changed, []);
});

test('a configuration of one plugin becomes a list', () => {
  const made = chainedConflist(
    '{"cniVersion":"1.1.0","cniVersions":["1.0.0","1.2.0"],"name":"x","type":"bridge"}',
    SOCKET,
  );
  assert.ok(made.ok);
  const { plugins, cniVersion } = JSON.parse(made.value);
  assert.equal(cniVersion, '1.1.0');
  assert.deepEqual(
    plugins.map(({ type }: { type: string }) => type),
    ['bridge', 'heddle-cni'],
  );
});

test('what can not be chained is refused with the reason, and nothing is written', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['{', /no JSON/],
    ['[]', /no JSON object/],
    ['{"plugins":[{}]}', /no name/],
    ['{"name":"x","plugins":[]}', /no plugins/],
    ['{"name":"x","plugins":[{}],"cniVersion":"0.2.0"}', /none of the versions/],
  ];
  mkdirSync(paths.confDirectory);
  for (const [text, message] of cases) {
    writeFileSync(join(paths.confDirectory, '10-other.conf'), text);
    assert.throws(() => installPlugin(paths, SOCKET, '10-other.conf'), message);
  }
  assert.throws(() => installPlugin(paths, SOCKET, 'none.conf'), /install the other network first/);
  assert.ok(!existsSync(paths.binDirectory));
});
