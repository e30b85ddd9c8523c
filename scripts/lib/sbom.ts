import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { HeddleError } from '../../common/errors.ts';

const NPM_TIMEOUT_MS = 60_000;
const NPM_OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
const DPKG_TIMEOUT_MS = 10_000;
const DPKG_FORMAT = `${['Package', 'Version', 'Architecture'].map((name) => `$\{${name}}`).join('\\t')}\\n`;

/** A component of CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/). */
export interface Component {
  readonly type: string;
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

interface NpmComponent extends Component {
  readonly 'bom-ref': string;
  readonly properties: readonly { readonly name: string; readonly value: string }[];
}

interface Bom {
  readonly metadata: { readonly component: object };
  readonly components: readonly Component[];
}

interface NpmBom extends Bom {
  readonly serialNumber: string;
  readonly metadata: { readonly component: object; readonly timestamp: string };
  readonly components: readonly NpmComponent[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/**
 * What npm installs here for Heddle's programs, as CycloneDX: read from package-lock.json, asking nobody. Without npm's random
 * serial number and its time, so that the same lock file gives the same bytes. Throws `sbom` where npm can't.
 */
export function lockedPackages(root: string): Bom {
  const words = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'];
  const { status, stdout, stderr, error } = spawnSync('npm', words, {
    ...{ cwd: root, encoding: 'utf8', timeout: NPM_TIMEOUT_MS, maxBuffer: NPM_OUTPUT_BYTES_MAX },
  });
  if (status !== 0) throw new HeddleError('sbom', `npm sbom failed: ${error?.message ?? stderr}`);
  const { serialNumber: _, ...bom } = JSON.parse(stdout) as NpmBom;
  const { timestamp: __, ...metadata } = bom.metadata;
  // npm's own --omit=dev also leaves out what programs and development tools share.
  const components = bom.components.filter(
    (one) =>
      !one.properties.some(({ name }) => name === 'cdx:npm:package:development') &&
      // Packages for other machines are locked, not installed.
      existsSync(join(root, 'node_modules', one.name)),
  );
  const kept = new Set(components.map((one) => one['bom-ref']));
  const dependencies = bom.dependencies.flatMap(({ ref, dependsOn }) =>
    kept.has(ref) ? [{ ref, dependsOn: dependsOn.filter((other) => kept.has(other)) }] : [],
  );
  return { ...bom, metadata, components, ...{ dependencies } };
}

/** The SBOM of an image: the locked packages, Node, and the files of the operating system. */
export function imageSbom(image: string, packages: Bom, node: string, files: readonly string[]): string {
  const component = { ...packages.metadata.component, name: image, 'bom-ref': image };
  const runtime = { type: 'platform', name: 'node', version: node, purl: `pkg:generic/node@${node}` };
  return `${JSON.stringify({
    ...packages,
    metadata: { ...packages.metadata, component },
    components: [...packages.components, runtime, ...systemComponents(files)],
  })}\n`;
}

/** The Debian packages that own the files; a file that none owns stands for itself, by its hash. */
function systemComponents(files: readonly string[]): readonly Component[] {
  const found = new Map<string, Component>();
  for (const file of files) {
    const component = packageOf(file) ?? fileComponent(file);
    found.set(component.purl ?? file, component);
  }
  return [...found.values()].toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

function packageOf(file: string): Component | undefined {
  const real = realpathSync(file);
  // dpkg knows a file by the path of its package, which may go through /lib where that leads to /usr/lib.
  const names = new Set([file, real, real.replace(/^\/usr/, '')]);
  for (const name of names) {
    const owner = dpkg(['--search', name])?.split(': ')[0];
    const line = owner === undefined ? undefined : dpkg(['--show', `--showformat=${DPKG_FORMAT}`, owner]);
    const [debian, version, arch] = line?.split('\n')[0]?.split('\t') ?? [];
    if (debian === undefined || version === undefined) continue;
    const purl = `pkg:deb/debian/${debian}@${encodeURIComponent(version)}?arch=${arch}`;
    return { type: 'library', name: debian, version, purl };
  }
  return undefined;
}

/** Undefined where dpkg isn't there or doesn't know. */
function dpkg(words: readonly string[]): string | undefined {
  const options = { encoding: 'utf8', timeout: DPKG_TIMEOUT_MS } as const;
  const { status, stdout } = spawnSync('dpkg-query', words, options);
  return status === 0 ? stdout : undefined;
}

function fileComponent(file: string): Component {
  const content = createHash('sha256').update(readFileSync(file)).digest('hex');
  return { type: 'file', name: basename(file), hashes: [{ alg: 'SHA-256', content }] };
}
