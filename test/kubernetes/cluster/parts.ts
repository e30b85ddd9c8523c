import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../../common/errors.ts';
import { type ImageContents, makeImage } from '../../../scripts/lib/host-image.ts';

/** Where the parts are that others are made of, by name. */
export type PartFolders = (name: PartName) => string;

/** Something that is built once and kept until what it is made from changes. */
export interface Part {
  readonly name: PartName;
  /** Parts that it is made from. */
  readonly from: readonly PartName[];
  /** What else it is made from: a change of any gives another fingerprint. */
  readonly inputs: () => readonly (string | Buffer)[];
  /** Fills the folder. Throws HeddleError `build` with what to do. */
  readonly make: (folder: string, parts: PartFolders) => void;
}

export type PartName = 'kubernetes' | 'etcd' | 'conformance' | 'echo' | 'helm' | 'debian' | 'images';

const KUBERNETES_VERSION = '1.34.4';
const GO_TIMEOUT_MS = 40 * 60_000;
const APT_TIMEOUT_MS = 5 * 60_000;
const LOG_TAIL_CHARS = 2_000;

const MODULES = fileURLToPath(new URL('./modules/', import.meta.url));
const STRIPPED = '-s -w';
const ECHO = 'istio.io/istio/pkg/test/echo/cmd';

export const IMAGES = {
  pause: 'heddle.test/pause:1',
  /** busybox under its own name and those of its applets. */
  tool: 'heddle.test/tool:1',
} as const;

const DEBIAN_PACKAGES = ['containerd', 'runc', 'busybox-static'];

export const PARTS: readonly Part[] = [
  goPart('kubernetes', (folder) => {
    const [major, minor] = KUBERNETES_VERSION.split('.');
    const version = { gitVersion: `v${KUBERNETES_VERSION}`, gitMajor: major, gitMinor: minor };
    const flags = Object.entries(version).map(
      ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
    );
    goBuild('kubernetes', join(folder, 'kubernetes'), '.', `${STRIPPED} ${flags.join(' ')}`);
  }),
  goPart('etcd', (folder) => goBuild('etcd', join(folder, 'etcd'), '.')),
  goPart('conformance', makeConformance),
  goPart('echo', (folder) => {
    goBuild('echo', join(folder, 'server'), `${ECHO}/server`);
    goBuild('echo', join(folder, 'client'), `${ECHO}/client`);
  }),
  goPart('helm', (folder) => goBuild('helm', join(folder, 'helm'), 'helm.sh/helm/v4/cmd/helm')),
  {
    name: 'debian',
    from: [],
    inputs: () => [...DEBIAN_PACKAGES, readFileSync('/etc/os-release')],
    make: unpackDebian,
  },
  {
    name: 'images',
    from: ['debian', 'echo', 'conformance'],
    inputs: () => [ownText('./parts.ts'), ownText('../../../scripts/lib/host-image.ts')],
    make: makeImages,
  },
];

function goPart(name: PartName, make: (folder: string) => void): Part {
  const files = () => readdirSync(join(MODULES, name)).sort();
  return {
    ...{ name, from: [], make },
    inputs: () => [
      KUBERNETES_VERSION,
      arch(),
      ...files().map((file) => readFileSync(join(MODULES, name, file))),
    ],
  };
}

function goBuild(name: PartName, output: string, target: string, ldflags = STRIPPED): void {
  go(name, ['build', '-trimpath', '-ldflags', ldflags, '-o', output, target]);
}

/** The suite, the CustomResourceDefinitions of the same version, and the manifests that it applies itself. */
function makeConformance(folder: string): void {
  go('conformance', [
    'test',
    '-c',
    '-trimpath',
    '-ldflags',
    STRIPPED,
    '-o',
    join(folder, 'conformance.test'),
    '.',
  ]);
  const moduleFolder = (module: string) => go('conformance', ['list', '-m', '-f', '{{.Dir}}', module]).trim();
  const crds = join(moduleFolder('sigs.k8s.io/gateway-api'), 'config/crd/experimental');
  mkdirSync(join(folder, 'crds'));
  for (const file of readdirSync(crds))
    if (file !== 'kustomization.yaml') cpSync(join(crds, file), join(folder, 'crds', file));
  const suite = moduleFolder('sigs.k8s.io/gateway-api/conformance');
  cpSync(join(suite, 'mesh/manifests.yaml'), join(folder, 'mesh-manifests.yaml'));
}

function unpackDebian(folder: string): void {
  const archives = join(folder, 'archives');
  mkdirSync(archives);
  const download = () => run('apt-get', ['download', '-q', ...DEBIAN_PACKAGES], archives, APT_TIMEOUT_MS);
  if (!download().ok) {
    run('apt-get', ['update', '-q'], archives, APT_TIMEOUT_MS);
    const again = download();
    if (!again.ok)
      throw buildError(
        'debian',
        again.output,
        'apt-get of Debian or Ubuntu with a reachable archive is needed',
      );
  }
  for (const file of readdirSync(archives)) {
    const unpacked = run('dpkg', ['-x', join(archives, file), folder], archives, APT_TIMEOUT_MS);
    if (!unpacked.ok) throw buildError('debian', unpacked.output, 'dpkg is needed');
  }
}

function makeImages(folder: string, parts: PartFolders): void {
  const busybox = [join(parts('debian'), 'bin/busybox'), join(parts('debian'), 'usr/bin/busybox')];
  const binary = busybox.find((path) => run(path, ['true'], folder, APT_TIMEOUT_MS).ok);
  if (binary === undefined)
    throw buildError('images', '', 'the package busybox-static has no busybox that runs');
  const applets = execFileSync(binary, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((one) => one !== '' && one !== 'busybox');
  const shell: ImageContents = {
    name: IMAGES.tool,
    layers: [
      {
        directories: [{ path: '/tmp', mode: 0o1777 }, { path: '/etc' }],
        files: [{ from: binary, to: '/bin/busybox' }],
        symlinks: applets.map((applet) => ({ at: `/bin/${applet}`, target: 'busybox' })),
      },
    ],
    env: { PATH: '/bin' },
    entrypoint: ['/bin/busybox', 'sleep', '2147483647'],
  };
  makeImage(shell, join(folder, 'tool.tar'));
  const only = { layers: [{ files: [{ from: binary, to: '/bin/busybox' }] }], env: {} };
  makeImage({ ...shell, ...only, name: IMAGES.pause }, join(folder, 'pause.tar'));
  makeEchoImage(folder, parts);
}

/** Under the name that the suite's manifests have; its servers want a certificate. */
function makeEchoImage(folder: string, parts: PartFolders): void {
  const manifests = readFileSync(join(parts('conformance'), 'mesh-manifests.yaml'), 'utf8');
  const name = /image: *(\S*echo-advanced\S*)/.exec(manifests)?.[1];
  if (name === undefined)
    throw buildError('images', '', 'the suite no longer uses echo-advanced: look at its manifests');
  const [key, certificate] = [join(folder, 'echo.key'), join(folder, 'echo.crt')];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=echo', '-days', '3650'];
  execFileSync('openssl', [...request, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  const echo: ImageContents = {
    name,
    layers: [
      {
        directories: [{ path: '/tmp', mode: 0o1777 }],
        files: [
          { from: join(parts('echo'), 'server'), to: '/usr/local/bin/server' },
          { from: join(parts('echo'), 'client'), to: '/usr/local/bin/client' },
          { from: certificate, to: '/cert.crt', mode: 0o644 },
          { from: key, to: '/cert.key', mode: 0o644 },
        ],
      },
    ],
    env: { PATH: '/usr/local/bin' },
    entrypoint: ['/usr/local/bin/server'],
  };
  makeImage(echo, join(folder, 'echo-advanced.tar'));
}

function go(name: PartName, args: readonly string[]): string {
  const environment = { GOFLAGS: '-mod=readonly', GOWORK: 'off', CGO_ENABLED: '0' };
  const done = run('go', args, join(MODULES, name), GO_TIMEOUT_MS, environment);
  if (!done.ok)
    throw buildError(name, done.output, 'Go 1.26 or newer and a reachable Go module proxy are needed');
  return done.output;
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  timeout: number,
  environment: Readonly<Record<string, string>> = {},
): { readonly ok: boolean; readonly output: string } {
  const done = spawnSync(command, args, {
    ...{
      cwd,
      timeout,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, ...environment },
    },
  });
  const ok = done.status === 0;
  return { ok, output: ok ? done.stdout : `${done.error?.message ?? ''}${done.stderr ?? ''}` };
}

function buildError(part: PartName, output: string, remedy: string): HeddleError {
  const tail = output.slice(-LOG_TAIL_CHARS);
  return new HeddleError('build', `${part} can't be built: ${remedy}${tail === '' ? '' : `\n${tail}`}`);
}

function ownText(path: string): Buffer {
  return readFileSync(fileURLToPath(new URL(path, import.meta.url)));
}
