import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type ImageContents,
  type ImageFile,
  librariesIn,
  makeImage,
} from '../../../scripts/lib/host-image.ts';
import {
  appletsOf,
  buildError,
  busyboxIn,
  go,
  goBuild,
  goPart,
  goTestBinary,
  ownText,
  type Part,
  type PartFolders,
  run,
  unpackDebianWithNeeds,
} from './part-tools.ts';

const TEST_IMAGES = 'k8s.io/kubernetes/test/images';
/**
 * What the cases run in pods of agnhost beside agnhost itself; its own image has Alpine's packages of the same programs. busybox has
 * all others. Its own shell would prefer its own commands to these, and static as it is it can't resolve names beside a C library.
 */
const TOOLS = {
  'bind9-dnsutils': ['usr/bin/dig', 'usr/bin/nslookup'],
  curl: ['usr/bin/curl'],
  dash: ['bin/dash'],
  iproute2: ['bin/ip', 'bin/ss'],
  iperf: ['usr/bin/iperf'],
  'libc-bin': ['usr/bin/getent'],
  'netcat-openbsd': ['bin/nc.openbsd'],
  'util-linux': ['usr/bin/nsenter'],
  wget: ['usr/bin/wget'],
} as const;

/** What the distribution's alternatives would name. */
const OTHER_NAMES: Readonly<Record<string, string>> = { 'bin/nc.openbsd': 'bin/nc', 'bin/dash': 'bin/sh' };

/** Kubernetes' own end-to-end cases of its network, and the images that their pods have. */
export const OWN_CASES_PARTS: readonly Part[] = [
  {
    ...goPart('e2e', (folder) => {
      goTestBinary('e2e', join(folder, 'e2e.test'));
      goBuild('e2e', join(folder, 'ginkgo'), 'github.com/onsi/ginkgo/v2/ginkgo');
      goBuild('e2e', join(folder, 'agnhost'), `${TEST_IMAGES}/agnhost`);
      goBuild('e2e', join(folder, 'reset-server'), `${TEST_IMAGES}/regression-issue-74839`);
      const module = go('e2e', ['list', '-m', '-f', '{{.Dir}}', 'k8s.io/kubernetes']).trim();
      for (const file of ['localhost.crt', 'localhost.key'])
        cpSync(join(module, 'test/images/agnhost/porter', file), join(folder, file));
    }),
    ownCases: true,
  },
  {
    name: 'e2e-images',
    ownCases: true,
    from: ['debian', 'e2e'],
    inputs: () => [
      ownText('./own-cases-parts.ts'),
      ownText('../../../scripts/lib/host-image.ts'),
      readFileSync('/etc/os-release'),
    ],
    make: makeOwnCasesImages,
  },
];

/** The archives of the part's images. */
export function ownCasesImages(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.tar'))
    .map((file) => join(folder, file));
}

/** Under the very names that the cases ask for. */
function makeOwnCasesImages(folder: string, parts: PartFolders): void {
  const e2e = parts('e2e');
  const listed = run(join(e2e, 'e2e.test'), ['--list-images'], folder);
  const busybox = busyboxIn(parts('debian'));
  const base = { env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' } };
  const shell: ImageContents['layers'][number] = {
    directories: [{ path: '/tmp', mode: 0o1777 }, { path: '/etc' }],
    files: [{ from: busybox, to: '/bin/busybox' }],
    symlinks: appletsOf(busybox).map((applet) => ({ at: `/bin/${applet}`, target: 'busybox' })),
  };
  const tools = { files: toolFiles(join(folder, 'tools')) };
  const agnhost: ImageContents['layers'][number] = {
    directories: [{ path: '/uploads' }],
    files: [
      { from: join(e2e, 'agnhost'), to: '/agnhost' },
      ...['localhost.crt', 'localhost.key'].map((file) => ({
        from: join(e2e, file),
        to: `/${file}`,
        mode: 0o644,
      })),
    ],
    symlinks: [{ at: '/agnhost-2', target: 'agnhost' }],
  };
  const resets = { files: [{ from: join(e2e, 'reset-server'), to: '/regression-issue-74839' }] };
  const images: Readonly<Record<string, Omit<ImageContents, 'name'>>> = {
    agnhost: { ...base, layers: [shell, tools, agnhost], entrypoint: ['/agnhost'], cmd: ['pause'] },
    // The other C library that DNS is asked with: there it is Debian's, as it is here in both.
    'jessie-dnsutils': { ...base, layers: [shell, tools], entrypoint: ['/bin/sh'] },
    busybox: { ...base, layers: [shell], entrypoint: [], cmd: ['sh'] },
    pause: { ...base, layers: [shell], entrypoint: ['/bin/sleep', '2147483647'] },
    'regression-issue-74839': { ...base, layers: [resets], entrypoint: ['/regression-issue-74839'] },
  };
  for (const [image, contents] of Object.entries(images))
    imagesNamed(listed.output, image).forEach((name, index) => {
      makeImage({ ...contents, name }, join(folder, `${image}-${index}.tar`));
    });
  rmSync(join(folder, 'tools'), { recursive: true });
}

/** `registry.k8s.io/e2e-test-images/agnhost:2.56`, as the cases of this version name it; some images they have in two versions. */
function imagesNamed(list: string, image: string): readonly string[] {
  const named = new RegExp(`^registry\\.k8s\\.io/(e2e-test-images/)?${image}:`);
  const names = list.split('\n').filter((line) => named.test(line));
  const remedy = `the cases no longer use ${image}: look at test/utils/image/manifest.go`;
  if (names.length === 0) throw buildError('e2e-images', list, remedy);
  return names.sort();
}

/** The programs with the libraries of the same release, whatever this machine has installed. */
function toolFiles(folder: string): readonly ImageFile[] {
  mkdirSync(folder);
  unpackDebianWithNeeds('e2e-images', folder, Object.keys(TOOLS));
  const files = new Map<string, ImageFile>();
  for (const program of Object.values(TOOLS).flat()) {
    const binary = join(folder, program);
    if (!existsSync(binary))
      throw buildError('e2e-images', '', `the distribution's packages have no ${program}`);
    const to = `/${OTHER_NAMES[program] ?? program}`;
    files.set(to, { from: binary, to, mode: 0o755 });
    for (const library of librariesOf(binary, folder)) files.set(library.to, library);
  }
  return [...files.values()];
}

/** As ldd(1) finds them in the unpacked packages; what it finds outside stands where the loader looks for it too. */
function librariesOf(binary: string, folder: string): readonly ImageFile[] {
  const path = ['usr/lib', 'lib'].map((lib) => join(folder, lib, triplet(folder))).join(':');
  const listed = run('env', [`LD_LIBRARY_PATH=${path}`, 'ldd', binary], folder);
  return librariesIn(listed.output).map(({ from, mode }) => ({
    ...{ from: realpathSync(from), to: from.startsWith(`${folder}/`) ? from.slice(folder.length) : from },
    ...(mode === undefined ? {} : { mode }),
  }));
}

/** `x86_64-linux-gnu`: the folder that has the C library. */
function triplet(folder: string): string {
  const found = run('find', [folder, '-name', 'libc.so.6'], folder).output.trim().split('\n')[0] ?? '';
  return dirname(found).split('/').at(-1) ?? '';
}
