import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeAtomically } from '../../common/atomic-file.ts';
import { TRUST_BUNDLE_CONFIG_MAP } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import { at, listAt, objectAt, textAt, textsAt } from '../kube/fields.ts';
import type { ContainerSpec } from './pod-spec.ts';

/** What the volumes of a pod are made from. */
export interface VolumeSources {
  /** The texts of a ConfigMap of the pod's namespace, or undefined where there is none. */
  configMap(name: string): Readonly<Record<string, string>> | undefined;
  token(audience: string): string;
  /** Values of a pod's own fields, as `metadata.name`. */
  field(path: string): string | undefined;
  /** The trust bundle that the control plane keeps up to date. */
  readonly rootFile: string;
}

/** A token file to be written anew before it expires. */
export interface TokenFile {
  readonly path: string;
  readonly audience: string;
}

export interface MaterialisedVolumes {
  /** By volume name. */
  readonly directories: ReadonlyMap<string, string>;
  readonly tokens: readonly TokenFile[];
}

/**
 * Makes the folders that stand for a pod's volumes. ConfigMap, projected (token, ConfigMap, fields), downwardAPI and
 * emptyDir volumes are supported; another kind fails with code `volume`.
 */
export function materialiseVolumes(
  podDirectory: string,
  volumes: readonly JsonValue[],
  sources: VolumeSources,
): MaterialisedVolumes {
  const directories = new Map<string, string>();
  const tokens: TokenFile[] = [];
  for (const volume of volumes) {
    const name = textAt(volume, 'name') ?? '';
    const directory = join(podDirectory, 'volumes', name);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    directories.set(name, directory);
    if (at(volume, 'configMap') !== undefined)
      writeConfigMap(directory, objectAt(volume, 'configMap'), sources);
    else if (at(volume, 'projected') !== undefined)
      for (const source of listAt(volume, 'projected', 'sources'))
        writeProjected(directory, name, source, sources, tokens);
    else if (at(volume, 'downwardAPI') !== undefined)
      writeFields(directory, listAt(volume, 'downwardAPI', 'items'), sources);
    else if (at(volume, 'emptyDir') === undefined)
      throw new HeddleError(
        'volume',
        `volume "${name}" is of a kind that the local mesh doesn't support (configMap, projected, downwardAPI, emptyDir are)`,
      );
  }
  return { directories, tokens };
}

/** The folder or file on this machine for each mount path of a container. */
export function mountsOf(
  container: ContainerSpec,
  directories: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const mounts = new Map<string, string>();
  for (const mount of container.volumeMounts) {
    const directory = directories.get(mount.name);
    if (directory === undefined)
      throw new HeddleError('volume', `container ${container.name} mounts an unknown volume "${mount.name}"`);
    mounts.set(mount.mountPath, mount.subPath === undefined ? directory : join(directory, mount.subPath));
  }
  return mounts;
}

function writeProjected(
  directory: string,
  volume: string,
  source: JsonValue,
  sources: VolumeSources,
  tokens: TokenFile[],
): void {
  if (at(source, 'serviceAccountToken') !== undefined) {
    const path = join(directory, textAt(source, 'serviceAccountToken', 'path') ?? 'token');
    const audience = textAt(source, 'serviceAccountToken', 'audience') ?? 'https://kubernetes.default.svc';
    writeAtomically(path, sources.token(audience));
    tokens.push({ path, audience });
  } else if (at(source, 'configMap') !== undefined) {
    writeConfigMap(directory, objectAt(source, 'configMap'), sources);
  } else if (at(source, 'downwardAPI') !== undefined) {
    writeFields(directory, listAt(source, 'downwardAPI', 'items'), sources);
  } else {
    throw new HeddleError(
      'volume',
      `volume "${volume}" projects a source that the local mesh doesn't support`,
    );
  }
}

function writeConfigMap(directory: string, reference: JsonValue, sources: VolumeSources): void {
  const name = textAt(reference, 'name') ?? '';
  const items = listAt(reference, 'items');
  if (name === TRUST_BUNDLE_CONFIG_MAP) {
    linkTrustBundle(directory, items, sources.rootFile);
    return;
  }
  const data = sources.configMap(name);
  if (data === undefined) {
    if (at(reference, 'optional') === true) return;
    throw new HeddleError('volume', `ConfigMap "${name}" doesn't exist in the pod's namespace`);
  }
  if (items.length === 0) {
    for (const [key, text] of Object.entries(data)) writeAtomically(inside(directory, key), text);
    return;
  }
  for (const item of items) {
    const key = textAt(item, 'key') ?? '';
    const text = data[key];
    if (text === undefined) throw new HeddleError('volume', `ConfigMap "${name}" has no key "${key}"`);
    writeAtomically(inside(directory, textAt(item, 'path') ?? key), text);
  }
}

/** A link, so that a rotation of the root reaches every sidecar as it happens. */
function linkTrustBundle(directory: string, items: readonly JsonValue[], rootFile: string): void {
  const paths = items.length === 0 ? ['root.pem'] : items.map((item) => textAt(item, 'path') ?? 'root.pem');
  for (const path of paths) {
    const target = inside(directory, path);
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    rmSync(target, { force: true });
    symlinkSync(rootFile, target);
  }
}

function writeFields(directory: string, items: readonly JsonValue[], sources: VolumeSources): void {
  for (const item of items) {
    const path = textAt(item, 'fieldRef', 'fieldPath') ?? '';
    const value = sources.field(path);
    if (value === undefined)
      throw new HeddleError('volume', `the field "${path}" can't be given to a container`);
    writeAtomically(inside(directory, textAt(item, 'path') ?? ''), value);
  }
}

function inside(directory: string, path: string): string {
  if (path === '' || path.startsWith('/') || path.split('/').includes('..'))
    throw new HeddleError('volume', `"${path}" is not a path inside a volume`);
  return join(directory, path);
}

/** The value of a field that `fieldRef` may name, of a pod after admission. */
export function podField(
  pod: JsonValue,
  path: string,
  { ips, hostIp }: { readonly ips: readonly string[]; readonly hostIp: string },
): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (keyed !== null) return textsAt(pod, 'metadata', keyed[1] ?? '')[keyed[2] ?? ''] ?? '';
  switch (path) {
    case 'status.podIP':
      return ips[0];
    case 'status.podIPs':
      return ips.join(',');
    case 'status.hostIP':
      return hostIp;
    case 'metadata.name':
    case 'metadata.namespace':
    case 'metadata.uid':
    case 'spec.nodeName':
      return textAt(pod, ...path.split('.'));
    case 'spec.serviceAccountName':
      return textAt(pod, 'spec', 'serviceAccountName') ?? 'default';
    default:
      return undefined;
  }
}
