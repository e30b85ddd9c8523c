import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { HeddleError } from '../../common/errors.ts';

/** A file of the host, and where it stands in the image. */
export interface ImageFile {
  readonly from: string;
  readonly to: string;
  /** 0o755 where `from` is executable, else 0o644. */
  readonly mode?: number;
}

export interface ImageSymlink {
  readonly at: string;
  readonly target: string;
}

export interface ImageDirectory {
  readonly path: string;
  /** 0o755 unless it is said: `/tmp` wants 0o1777. All belong to root. */
  readonly mode?: number;
}

/**
 * One layer. Equal layers of several images are equal bytes, so that a node stores them once: put what images share (the
 * Node binary and its libraries) into a layer of its own, and before what changes more often.
 */
export interface ImageLayer {
  readonly files?: readonly ImageFile[];
  readonly symlinks?: readonly ImageSymlink[];
  readonly directories?: readonly ImageDirectory[];
}

export interface ImageContents {
  /** As a Pod names it: `heddle.test/heddle-proxy:1`. */
  readonly name: string;
  readonly layers: readonly ImageLayer[];
  readonly entrypoint: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** `65532:65532`; root where it isn't said. Kubernetes' runAsNonRoot wants numbers. */
  readonly user?: string;
  readonly workdir?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface MadeImage {
  /** Of the manifest: the same for the same contents. */
  readonly digest: string;
  readonly bytes: number;
}

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const TAR_TIMEOUT_MS = 120_000;
const LDD_TIMEOUT_MS = 10_000;
const MEDIA = 'application/vnd.oci.image';
/** The architectures of Node as OCI writes them. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * Writes an image made of host files to `archive`: an OCI image layout that also has docker's `manifest.json`, so that both
 * `ctr image import` and `docker load` take it. The same contents give the same bytes: no times, no users, sorted names.
 * Throws HeddleError `image-file` where a file isn't there, `tar` where tar fails.
 * Source: https://github.com/opencontainers/image-spec, image-layout.md and annotations.md.
 */
export function makeImage(contents: ImageContents, archive: string): MadeImage {
  mkdirSync(dirname(resolve(archive)), { recursive: true });
  const work = mkdtempSync(`${resolve(archive)}.`);
  try {
    const layout = join(work, 'layout');
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
    const layers = contents.layers.map((layer, index) =>
      addLayer(layer, join(work, `layer-${index}`), layout),
    );
    const config = addBlob(layout, `${MEDIA}.config.v1+json`, json(configOf(contents, layers)));
    const manifest = addBlob(
      layout,
      `${MEDIA}.manifest.v1+json`,
      json({ schemaVersion: 2, mediaType: `${MEDIA}.manifest.v1+json`, config, layers }),
    );
    writeFileSync(join(layout, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
    writeFileSync(join(layout, 'index.json'), json(indexOf(contents.name, manifest)));
    writeFileSync(join(layout, 'manifest.json'), json(dockerManifestOf(contents.name, config, layers)));
    const file = join(work, 'archive.tar');
    tarOf(layout, file);
    renameSync(file, archive);
    return { digest: manifest.digest, bytes: readFileSync(archive).length };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * A binary with every shared library that it needs, its loader included, each at the path where the loader looks for it.
 * A static binary is alone. Throws HeddleError `image-file` where a library isn't there.
 */
export function withLibraries(binary: string, to: string): readonly ImageFile[] {
  if (!existsSync(binary)) throw new HeddleError('image-file', `there is no ${binary}`);
  const found = spawnSync('ldd', [binary], { encoding: 'utf8', timeout: LDD_TIMEOUT_MS });
  if (found.error !== undefined)
    throw new HeddleError('image-file', `ldd can't be run (${found.error.message}): install libc-bin`);
  return [{ from: binary, to, mode: 0o755 }, ...librariesIn(found.stdout)];
}

/** Reads what ldd(1) prints: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader; the vDSO has no path. */
export function librariesIn(output: string): readonly ImageFile[] {
  const missing = /^\s*(\S+) => not found/m.exec(output)?.[1];
  if (missing !== undefined)
    throw new HeddleError(
      'image-file',
      `the library ${missing} is nowhere on this machine: install its package`,
    );
  const paths = [...output.matchAll(/^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/gm)].map(
    ([, path = '']) => path,
  );
  return [...new Set(paths)].map((path) => ({ from: path, to: path, mode: 0o755 }));
}

/** Puts a layer's files where they stand, below `root`; layers of one image may be laid over each other. */
export function layOut(layer: ImageLayer, root: string): void {
  mkdirSync(root, { recursive: true });
  chmodSync(root, 0o755);
  for (const { path, mode = 0o755 } of layer.directories ?? []) {
    makeFolder(root, path);
    chmodSync(join(root, path), mode);
  }
  for (const file of layer.files ?? []) placeFile(file, root);
  for (const { at, target } of layer.symlinks ?? []) {
    makeFolder(root, posix.dirname(at));
    symlinkSync(target, join(root, at));
  }
}

function addLayer(layer: ImageLayer, root: string, layout: string): Blob {
  layOut(layer, root);
  const tar = `${root}.tar`;
  tarOf(root, tar);
  rmSync(root, { recursive: true });
  return moveBlob(layout, `${MEDIA}.layer.v1.tar`, tar);
}

function placeFile({ from, to, mode }: ImageFile, root: string): void {
  if (!existsSync(from))
    throw new HeddleError('image-file', `there is no ${from}, which the image has as ${to}`);
  makeFolder(root, posix.dirname(to));
  copyFileSync(from, join(root, to));
  chmodSync(join(root, to), mode ?? (isExecutable(from) ? 0o755 : 0o644));
}

/** With modes that the caller's umask has no part in. */
function makeFolder(root: string, path: string): void {
  if (existsSync(join(root, path))) return;
  makeFolder(root, posix.dirname(path));
  mkdirSync(join(root, path));
  chmodSync(join(root, path), 0o755);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Options from https://reproducible-builds.org/docs/archives/. */
function tarOf(folder: string, output: string): void {
  const options = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];
  const done = spawnSync('tar', [...options, '-C', folder, '-cf', output, '.'], {
    ...{ encoding: 'utf8', timeout: TAR_TIMEOUT_MS, env: { ...process.env, LC_ALL: 'C' } },
  });
  if (done.status !== 0)
    throw new HeddleError(
      'tar',
      `tar failed (GNU tar 1.28 or newer is needed): ${done.error?.message ?? done.stderr}`,
    );
}

function moveBlob(layout: string, mediaType: string, file: string): Blob {
  const bytes = readFileSync(file);
  const hash = createHash('sha256').update(bytes).digest('hex');
  renameSync(file, join(layout, 'blobs/sha256', hash));
  return { mediaType, digest: `sha256:${hash}`, size: bytes.length };
}

function addBlob(layout: string, mediaType: string, text: string): Blob {
  const file = join(layout, 'blob');
  writeFileSync(file, text);
  return moveBlob(layout, mediaType, file);
}

function configOf(contents: ImageContents, layers: readonly Blob[]): unknown {
  return {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: 'linux',
    config: {
      ...(contents.user === undefined ? {} : { User: contents.user }),
      Env: Object.entries(contents.env ?? {}).map(([name, value]) => `${name}=${value}`),
      Entrypoint: contents.entrypoint,
      ...(contents.cmd === undefined ? {} : { Cmd: contents.cmd }),
      WorkingDir: contents.workdir ?? '/',
      Labels: contents.labels ?? {},
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  };
}

/** containerd takes the image's name from its own annotation; OCI's holds the tag only. */
function indexOf(name: string, manifest: Blob): unknown {
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  };
  return { schemaVersion: 2, mediaType: `${MEDIA}.index.v1+json`, manifests: [{ ...manifest, annotations }] };
}

function dockerManifestOf(name: string, config: Blob, layers: readonly Blob[]): unknown {
  const pathOf = ({ digest }: Blob) => `blobs/sha256/${digest.slice('sha256:'.length)}`;
  return [{ Config: pathOf(config), RepoTags: [name], Layers: layers.map(pathOf) }];
}

function json(value: unknown): string {
  return JSON.stringify(value);
}
