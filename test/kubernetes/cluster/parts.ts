import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageContents, makeImage } from '../../../scripts/lib/host-image.ts';
import { OWN_CASES_PARTS } from './own-cases-parts.ts';
import {
  appletsOf,
  buildError,
  busyboxIn,
  go,
  goBuild,
  goPart,
  goTestBinary,
  KUBERNETES_VERSION,
  ownText,
  type Part,
  type PartFolders,
  STRIPPED,
  unpackDebian,
} from './part-tools.ts';

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
    make: (folder) => unpackDebian('debian', folder, DEBIAN_PACKAGES),
  },
  {
    name: 'images',
    from: ['debian', 'echo', 'conformance'],
    inputs: () => [ownText('./parts.ts'), ownText('../../../scripts/lib/host-image.ts')],
    make: makeImages,
  },
  ...OWN_CASES_PARTS,
];

/** The suite, the CustomResourceDefinitions of the same version, and the manifests that it applies itself. */
function makeConformance(folder: string): void {
  goTestBinary('conformance', join(folder, 'conformance.test'));
  const moduleFolder = (module: string) => go('conformance', ['list', '-m', '-f', '{{.Dir}}', module]).trim();
  const crds = join(moduleFolder('sigs.k8s.io/gateway-api'), 'config/crd/experimental');
  mkdirSync(join(folder, 'crds'));
  for (const file of readdirSync(crds))
    if (file !== 'kustomization.yaml') cpSync(join(crds, file), join(folder, 'crds', file));
  const suite = moduleFolder('sigs.k8s.io/gateway-api/conformance');
  cpSync(join(suite, 'mesh/manifests.yaml'), join(folder, 'mesh-manifests.yaml'));
}

function makeImages(folder: string, parts: PartFolders): void {
  const binary = busyboxIn(parts('debian'));
  const applets = appletsOf(binary);
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
