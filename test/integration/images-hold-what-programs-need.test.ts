import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { leakCheck } from '../support/leak-check.ts';

leakCheck();

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const IMAGES: Readonly<Record<string, readonly string[]>> = {
  'heddle-proxy': ['proxy'],
  'heddle-control-plane': ['control-plane', 'injector'],
  'heddle-cni': ['cni/agent', 'cni/dial', 'cni/dns'],
};
let roots: string;

before(() => {
  roots = mkdtempSync(join(tmpdir(), 'heddle-roots-'));
  const made = spawnSync(process.execPath, ['scripts/images.ts', '--roots', roots], {
    ...{ cwd: ROOT, encoding: 'utf8' },
  });
  assert.equal(made.status, 0, made.stderr);
});

after(() => rmSync(roots, { recursive: true, force: true }));

/** What a command prints that sees nothing but an image's files. */
function inside(image: string, ...command: readonly string[]) {
  const enter = ['--user', '--map-root-user', '--root', join(roots, image), '--', ...command];
  return spawnSync('unshare', enter, { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
}

for (const [image, programs] of Object.entries(IMAGES)) {
  test(`${image} has Node and all that its programs load`, () => {
    for (const program of programs) {
      const { status, stdout, stderr } = inside(
        image,
        '/usr/local/bin/node',
        `/heddle/${program}/main.mjs`,
        '--help',
      );
      // The proxy has no flags: it says what its environment lacks.
      if (program === 'proxy') assert.match(stderr, /HEDDLE_CONTROL_PLANE is missing/);
      else assert.match(stdout, /^Usage: /, stderr);
      assert.equal(status, program === 'proxy' ? 2 : 0);
    }
  });

  test(`${image} has no shell, and a list of what is in it`, () => {
    for (const shell of ['sh', 'bash', 'dash', 'busybox'])
      assert.equal(existsSync(join(roots, image, 'bin', shell)), false, shell);
    const bom = JSON.parse(readFileSync(join(roots, image, 'heddle/sbom.json'), 'utf8'));
    assert.equal(bom.metadata.component.name, image);
    const names: readonly string[] = bom.components.map(({ name }: { readonly name: string }) => name);
    for (const name of ['@grpc/grpc-js', 'node', 'libc6']) assert.ok(names.includes(name), name);
    assert.equal(names.includes('typescript'), false, 'what is needed for development only is no part');
    if (image === 'heddle-cni')
      for (const name of ['libbpf1', 'nftables']) assert.ok(names.includes(name), name);
  });
}

test('the agent finds its library, its programs of the kernel, nft and the plugin in its image', () => {
  const use = "require('/heddle/cni/agent/koffi.node').load('libbpf.so.1')";
  const loaded = inside('heddle-cni', '/usr/local/bin/node', '-e', use);
  assert.equal(loaded.status, 0, loaded.stderr);
  assert.match(inside('heddle-cni', 'nft', '--version').stdout, /^nftables /);
  assert.equal(inside('heddle-cni', '/bin/cat', '/heddle/package.json').status, 0);
  const room = join(roots, 'heddle-cni/heddle/cni');
  for (const name of ['pod', 'socket', 'steer'])
    assert.ok(statSync(join(room, `bpf/objects/${name}.o`)).size);
  const plugin = join(room, 'plugin/bin', process.arch, 'heddle-cni');
  assert.equal(statSync(plugin).mode & 0o111, 0o111, 'the plugin may be executed');
});

test("programs that may not write still have /tmp, and pods' namespaces their usual path", () => {
  for (const image of Object.keys(IMAGES))
    assert.equal(statSync(join(roots, image, 'tmp')).mode & 0o7777, 0o1777);
  assert.ok(lstatSync(join(roots, 'heddle-cni/var/run')).isSymbolicLink());
});

test('the same lock file gives the same list', () => {
  const lists = () =>
    Object.keys(IMAGES).map((image) => readFileSync(join(roots, image, 'heddle/sbom.json'), 'utf8'));
  const once = lists();
  spawnSync(process.execPath, ['scripts/images.ts', '--roots', roots], { cwd: ROOT });
  assert.deepEqual(lists(), once);
});
