import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SIDECAR_NODE_FLAGS } from '../../cli/local/bundles.ts';
import { SIDECAR } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import { type ImageContents, type ImageFile, type ImageLayer, withLibraries } from './host-image.ts';
import { imageSbom, lockedPackages } from './sbom.ts';

/** Before an image's name: no registry, so that no node ever asks one for it. */
export const REPOSITORY = 'localhost';
export const DEFAULT_TAG = 'dev';

const NODE = '/usr/local/bin/node';
/** As distroless images have it; Kubernetes' runAsNonRoot wants a number. */
const NONROOT = 65_532;
export const ENVIRONMENT = {
  ...{ PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', NODE_ENV: 'production' },
};
const LDCONFIG_TIMEOUT_MS = 10_000;

export interface ImagesInput {
  /** Heddle's own root folder. */
  readonly root: string;
  /** What `npm run build` made. */
  readonly dist: string;
  /** The Node binary that the images have. */
  readonly node: string;
  readonly tag: string;
  /** A folder for files that are made for the images; it must stay until they are. */
  readonly work: string;
}

/** What of an image is the same wherever it is made. */
export interface Recipe {
  readonly name: string;
  readonly title: string;
  readonly programs: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd?: readonly string[];
  readonly uid: number;
  readonly system: () => readonly ImageFile[];
  readonly beside?: readonly string[];
}

export const RECIPES: readonly Recipe[] = [
  {
    ...{ name: 'heddle-proxy', title: "Heddle's sidecar", programs: ['proxy'], uid: SIDECAR.uid },
    entrypoint: [NODE, ...SIDECAR_NODE_FLAGS, '/heddle/proxy/main.mjs'],
    system: () => [],
  },
  {
    ...{ name: 'heddle-control-plane', title: "Heddle's control plane and injector", uid: NONROOT },
    ...{
      programs: ['control-plane', 'injector'],
      entrypoint: [NODE],
      cmd: ['/heddle/control-plane/main.mjs'],
    },
    system: () => [],
  },
  {
    ...{ name: 'heddle-cni', title: "Heddle's node agent and DNS", uid: 0 },
    ...{
      programs: ['cni/agent', 'cni/dial', 'cni/dns'],
      entrypoint: [NODE],
      cmd: ['/heddle/cni/agent/main.mjs'],
    },
    beside: ['cni/bpf', 'cni/plugin'],
    // nft gives pods the address of their node; cat is the command of the probes.
    system: () => [
      ...withLibraries(programPath('nft'), '/usr/sbin/nft'),
      ...withLibraries(programPath('cat'), '/bin/cat'),
      ...withLibraries(libraryPath('libbpf.so.1'), libraryPath('libbpf.so.1')),
    ],
  },
];

/**
 * Heddle's images, made of this machine's files: Node and its libraries in a layer that all share, what the operating system adds, the
 * bundles with the list of what is in the image (/heddle/sbom.json). No shell, no package manager.
 */
export function heddleImages(input: ImagesInput): readonly ImageContents[] {
  const { root, node, work } = input;
  const packages = lockedPackages(root);
  const version = versionOf(node);
  const { version: release, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const base = baseLayer(node, work);
  return RECIPES.map((recipe) => {
    const system = unique(recipe.system()).filter(({ to }) => !hasFile(base, to));
    const sbom = join(work, `${recipe.name}.sbom.json`);
    const libraries = [...(base.files ?? []), ...system].map(({ from }) => from);
    const ofSystem = libraries.filter((from) => from !== node && !from.startsWith(`${work}/`));
    writeFileSync(sbom, imageSbom(recipe.name, packages, version, ofSystem));
    return {
      name: `${REPOSITORY}/${recipe.name}:${input.tag}`,
      layers: [
        base,
        ...(system.length > 0 ? [{ files: system }] : []),
        { files: [...programFiles(input, recipe), { from: sbom, to: '/heddle/sbom.json', mode: 0o644 }] },
      ],
      entrypoint: recipe.entrypoint,
      ...(recipe.cmd === undefined ? {} : { cmd: recipe.cmd }),
      env: ENVIRONMENT,
      user: `${recipe.uid}:${recipe.uid}`,
      labels: {
        'org.opencontainers.image.title': recipe.name,
        'org.opencontainers.image.description': recipe.title,
        'org.opencontainers.image.version': release,
        'org.opencontainers.image.licenses': license,
      },
    };
  });
}

/** Node, its libraries, and what a program expects of any system. `work` is a folder that must stay until the images are made. */
export function baseLayer(node: string, work: string): ImageLayer {
  const made = join(work, 'etc');
  mkdirSync(made, { recursive: true });
  const users = { root: 0, heddle: SIDECAR.uid, nonroot: NONROOT };
  const lines = (line: (name: string, id: number) => string) =>
    Object.entries(users)
      .map(([name, id]) => `${line(name, id)}\n`)
      .join('');
  const texts = {
    passwd: lines((name, id) => `${name}:x:${id}:${id}::/:/usr/sbin/nologin`),
    group: lines((name, id) => `${name}:x:${id}:`),
    // Where it is missing, the C library asks DNS before it reads /etc/hosts.
    'nsswitch.conf': 'hosts: files dns\n',
  };
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(made, name), text);
  return {
    files: [
      ...withLibraries(node, NODE),
      ...Object.keys(texts).map((name) => ({ from: join(made, name), to: `/etc/${name}`, mode: 0o644 })),
    ],
    directories: [{ path: '/tmp', mode: 0o1777 }, { path: '/run' }],
    // The runtime names pods' namespaces by /var/run.
    symlinks: [{ at: '/var/run', target: '/run' }],
  };
}

/** Bundles without their source maps, which nothing reads there. */
function programFiles({ root, dist }: ImagesInput, { programs, beside = [] }: Recipe): readonly ImageFile[] {
  const folders = [...programs, ...beside].flatMap((folder) =>
    readdirSync(join(dist, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.map'))
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  return [
    ...folders.map((from) => ({ from, to: `/heddle${from.slice(dist.length)}` })),
    { from: join(dist, 'package.json'), to: '/heddle/package.json', mode: 0o644 },
    { from: join(root, 'LICENSE'), to: '/heddle/LICENSE', mode: 0o644 },
  ];
}

/** The last of those that have one place in the image. */
export function unique(files: readonly ImageFile[]): readonly ImageFile[] {
  return [...new Map(files.map((file) => [file.to, file])).values()];
}

function hasFile({ files = [] }: ImageLayer, path: string): boolean {
  return files.some(({ to }) => to === path);
}

function versionOf(node: string): string {
  const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  if (status !== 0) throw new HeddleError('image-file', `${node} doesn't say its version`);
  return stdout.trim().replace(/^v/, '');
}

/** Of the system itself, whatever comes first in PATH. */
export function programPath(name: string): string {
  const folders = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const found = folders
    .map((folder) => join(folder, name))
    .find((path) => spawnSync(path, ['--version'], { stdio: 'ignore' }).status === 0);
  if (found === undefined) throw new HeddleError('image-file', `the program ${name} must be installed`);
  return found;
}

/** Where the loader finds a library. */
function libraryPath(name: string): string {
  const { stdout } = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8', timeout: LDCONFIG_TIMEOUT_MS });
  const line = stdout.split('\n').find((one) => one.trim().startsWith(`${name} `));
  const path = line?.split(' => ')[1];
  if (path === undefined) throw new HeddleError('image-file', `the library ${name} must be installed`);
  return path;
}
