import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { leakCheck } from '../../test/support/leak-check.ts';
import { type ImageContents, librariesIn, makeImage, withLibraries } from './host-image.ts';

leakCheck();

const folder = mkdtempSync(join(tmpdir(), 'heddle-image-'));
after(() => rmSync(folder, { recursive: true }));

const program = join(folder, 'program');
const page = join(folder, 'page');
writeFileSync(program, '#!/bin/sh\necho hello\n', { mode: 0o700 });
writeFileSync(page, 'hello', { mode: 0o600 });

const contents: ImageContents = {
  name: 'heddle.test/hello:1',
  layers: [
    { directories: [{ path: '/tmp', mode: 0o1777 }] },
    {
      files: [
        { from: program, to: '/usr/local/bin/hello' },
        { from: page, to: '/srv/page' },
        { from: page, to: '/srv/secret', mode: 0o400 },
      ],
      symlinks: [{ at: '/bin/hi', target: '/usr/local/bin/hello' }],
    },
  ],
  ...{ entrypoint: ['/bin/hi'], cmd: ['--now'], env: { PATH: '/bin' } },
  ...{ user: '65532:65532', workdir: '/srv', labels: { 'org.opencontainers.image.title': 'hello' } },
};

function tar(...args: readonly string[]): string {
  return execFileSync('tar', args, { encoding: 'utf8', env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' } });
}

function unpack(archive: string): { read: (path: string) => Buffer; json: (path: string) => never } {
  const to = mkdtempSync(join(folder, 'unpacked-'));
  tar('-xf', archive, '-C', to);
  const read = (path: string) => readFileSync(join(to, path));
  return { read, json: (path) => JSON.parse(read(path).toString()) as never };
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

const blob = ({ digest }: Descriptor) => `blobs/sha256/${digest.slice('sha256:'.length)}`;

test('the same contents give the same bytes, whatever the times and names of the host', () => {
  const first = makeImage(contents, join(folder, 'a.tar'));
  utimesSync(page, 1_000_000, 1_000_000);
  const again = makeImage(contents, join(folder, 'deeper/b.tar'));
  assert.deepEqual(again, first);
  assert.deepEqual(readFileSync(join(folder, 'a.tar')), readFileSync(join(folder, 'deeper/b.tar')));
  const other = makeImage({ ...contents, user: '1337' }, join(folder, 'c.tar'));
  assert.notEqual(other.digest, first.digest);
});

test('every digest and size of the archive is that of its blob, and all lead from the index', () => {
  const made = makeImage(contents, join(folder, 'a.tar'));
  const { read, json } = unpack(join(folder, 'a.tar'));
  const index: { manifests: Descriptor[] } = json('index.json');
  const [manifest] = index.manifests;
  assert.ok(manifest !== undefined && index.manifests.length === 1);
  assert.equal(manifest.digest, made.digest);
  assert.equal(manifest.annotations?.['io.containerd.image.name'], 'heddle.test/hello:1');
  const { config, layers }: { config: Descriptor; layers: Descriptor[] } = json(blob(manifest));
  for (const one of [manifest, config, ...layers]) {
    const bytes = read(blob(one));
    assert.equal(bytes.length, one.size);
    assert.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, one.digest);
  }
  assert.deepEqual(json('manifest.json'), [
    { Config: blob(config), RepoTags: ['heddle.test/hello:1'], Layers: layers.map(blob) },
  ]);
  const described: { config: unknown; rootfs: unknown } = json(blob(config));
  assert.deepEqual(described.rootfs, { type: 'layers', diff_ids: layers.map(({ digest }) => digest) });
  assert.deepEqual(described.config, {
    ...{ User: '65532:65532', Env: ['PATH=/bin'], Entrypoint: ['/bin/hi'], Cmd: ['--now'] },
    ...{ WorkingDir: '/srv', Labels: { 'org.opencontainers.image.title': 'hello' } },
  });
});

test('a layer has the files, links and folders with their modes, and belongs to root', () => {
  makeImage(contents, join(folder, 'a.tar'));
  const { json, read } = unpack(join(folder, 'a.tar'));
  const [{ Layers }]: [{ Layers: string[] }] = json('manifest.json');
  const listed = Layers.map((path, index) => {
    const file = join(folder, `layer-${index}`);
    writeFileSync(file, read(path));
    return tar('-tvf', file, '--numeric-owner')
      .trim()
      .split('\n')
      .map((line) => line.replace(/ +/g, ' '));
  });
  const folderLine = (path: string) => `drwxr-xr-x 0/0 0 1970-01-01 00:00 ${path}`;
  assert.deepEqual(listed, [
    [folderLine('./'), 'drwxrwxrwt 0/0 0 1970-01-01 00:00 ./tmp/'],
    [
      ...[folderLine('./'), folderLine('./bin/')],
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00 ./bin/hi -> /usr/local/bin/hello',
      folderLine('./srv/'),
      '-rw-r--r-- 0/0 5 1970-01-01 00:00 ./srv/page',
      '-r-------- 0/0 5 1970-01-01 00:00 ./srv/secret',
      ...['./usr/', './usr/local/', './usr/local/bin/'].map(folderLine),
      '-rwxr-xr-x 0/0 21 1970-01-01 00:00 ./usr/local/bin/hello',
    ],
  ]);
});

test('a file that is not there is named, and nothing is left behind', () => {
  const gone = { ...contents, layers: [{ files: [{ from: '/nowhere/at-all', to: '/x' }] }] };
  const archive = join(folder, 'never/d.tar');
  assert.throws(() => makeImage(gone, archive), { code: 'image-file', message: /\/nowhere\/at-all/ });
  assert.equal(tar('-cf', '-', '-C', join(folder, 'never'), '.').includes('d.tar'), false);
});

test('shared libraries come with the loader, each once, and a missing one is an error', () => {
  const printed = [
    '\tlinux-vdso.so.1 (0x00007ffe3b5f2000)',
    '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f1c1b000000)',
    '\t/lib64/ld-linux-x86-64.so.2 (0x00007f1c1b4d0000)',
    '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f1c1b000000)',
  ].join('\n');
  const paths = ['/lib/x86_64-linux-gnu/libm.so.6', '/lib64/ld-linux-x86-64.so.2'];
  assert.deepEqual(
    librariesIn(printed),
    paths.map((path) => ({ from: path, to: path, mode: 0o755 })),
  );
  assert.deepEqual(librariesIn('\tnot a dynamic executable\n'), []);
  assert.throws(() => librariesIn('\tlibx.so.1 => not found\n'), {
    code: 'image-file',
    message: /libx\.so\.1/,
  });
});

test('the running Node with its libraries has a loader among them', () => {
  const [binary, ...libraries] = withLibraries(process.execPath, '/usr/local/bin/node');
  assert.deepEqual(binary, { from: process.execPath, to: '/usr/local/bin/node', mode: 0o755 });
  assert.ok(libraries.some(({ to }) => /\/ld-linux-[^/]+$/.test(to)));
  assert.throws(() => withLibraries('/nowhere/at-all', '/x'), { code: 'image-file' });
});
