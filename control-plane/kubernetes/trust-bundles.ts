import { LABELS, TRUST_BUNDLE_CONFIG_MAP } from '../../common/contracts.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import type { Workload } from '../../model/mesh.ts';
import type { KubeObject, Problem } from '../../model/objects.ts';
import { orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { type ClusterApi, changeObject, isOwn, OWN_LABELS } from './api.ts';
import type { Work } from './reconciler.ts';

/** Key of the ConfigMap: the file that pods mount. */
export const BUNDLE_KEY = 'root.pem';

export interface BundleFacts {
  readonly namespaces: readonly KubeObject[];
  readonly workloads: Iterable<Workload>;
  /** All that bear the name, of whomever. */
  readonly configMaps: readonly KubeObject[];
  readonly bundlePem: string;
  readonly systemNamespace: string;
}

export interface BundlePlan {
  readonly works: readonly Work[];
  /** Of `works`, those by which somebody gets to know the bundle. */
  readonly behind: readonly string[];
  readonly problems: readonly Problem[];
}

/**
 * The roots to trust, as a ConfigMap where pods with a sidecar are or may come: sidecars mount it. One of that name which
 * isn't Heddle's is left alone and told of. Namespaces that are being deleted take nothing new.
 */
export function planTrustBundles(facts: BundleFacts, api: ClusterApi): BundlePlan {
  const { bundlePem, configMaps } = facts;
  const wanted = wantedNamespaces(facts);
  const works: Work[] = [];
  const problems: Problem[] = [];
  const there = new Map(configMaps.map((map) => [map.metadata.namespace ?? '', map]));
  for (const namespace of wanted) {
    const found = there.get(namespace);
    if (found === undefined) works.push(create(namespace, bundlePem, api));
    else if (!isOwn(found)) problems.push(foreign(namespace));
    else if (!holds(found, bundlePem)) works.push(mend(found, namespace, bundlePem, api));
  }
  for (const [namespace, found] of there) {
    if (!wanted.has(namespace) && isOwn(found)) works.push(remove(found, namespace, api));
  }
  const behind = works.filter(({ print }) => print !== REMOVED).map(({ key }) => key);
  return { works, behind, problems };
}

const REMOVED = '';

function wantedNamespaces({ namespaces, workloads, systemNamespace }: BundleFacts): ReadonlySet<string> {
  const withSidecars = new Set<string>();
  for (const { meshed, namespace } of workloads) if (meshed) withSidecars.add(namespace);
  const wanted = namespaces.filter(({ metadata, status }) => {
    const ending = isJsonObject(status) && status.phase === 'Terminating';
    if (ending || metadata.deletionTimestamp !== undefined) return false;
    const labels = metadata.labels ?? {};
    const injected = labels[LABELS.inject] === 'enabled' || labels[LABELS.revision] !== undefined;
    return injected || metadata.name === systemNamespace || withSidecars.has(metadata.name);
  });
  return new Set(wanted.map(({ metadata }) => metadata.name));
}

/** Exactly the bundle: another key would be a second file in every pod. */
function holds({ data, binaryData }: KubeObject, bundlePem: string): boolean {
  const entries = isJsonObject(data) ? Object.entries(data) : [];
  return (
    binaryData === undefined &&
    entries.length === 1 &&
    entries[0]?.[0] === BUNDLE_KEY &&
    entries[0][1] === bundlePem
  );
}

function label(namespace: string): string {
  return `ConfigMap ${namespace}/${TRUST_BUNDLE_CONFIG_MAP}`;
}

const refOf = (namespace: string) => ({ namespace, name: TRUST_BUNDLE_CONFIG_MAP });

function create(namespace: string, bundlePem: string, api: ClusterApi): Work {
  return {
    ...{ key: label(namespace), print: bundlePem, version: '' },
    run: () =>
      api.create(KINDS.configMap, {
        ...{ apiVersion: 'v1', kind: 'ConfigMap', data: { [BUNDLE_KEY]: bundlePem } },
        metadata: { ...refOf(namespace), labels: OWN_LABELS },
      }),
  };
}

function mend(found: KubeObject, namespace: string, bundlePem: string, api: ClusterApi): Work {
  const change = (fresh: KubeObject): JsonObject | undefined => {
    if (!isOwn(fresh) || holds(fresh, bundlePem)) return undefined;
    const others = isJsonObject(fresh.data) ? Object.keys(fresh.data) : [];
    const removed = Object.fromEntries(others.map((key) => [key, null]));
    return { data: { ...removed, [BUNDLE_KEY]: bundlePem }, binaryData: null };
  };
  return {
    ...{ key: label(namespace), print: bundlePem, version: versionOf(found) },
    run: () => changeObject(api, { kind: KINDS.configMap, ...refOf(namespace) }, change),
  };
}

function remove(found: KubeObject, namespace: string, api: ClusterApi): Work {
  const { uid } = found.metadata;
  const preconditions = uid === undefined ? {} : { preconditions: { uid } };
  return {
    ...{ key: label(namespace), print: REMOVED, version: versionOf(found) },
    run: () => orMissing(api.delete(KINDS.configMap, refOf(namespace), preconditions)),
  };
}

/** Changes with whatever there is to mend. */
function versionOf({ metadata, data, binaryData }: KubeObject): string {
  return JSON.stringify([metadata.uid, data, binaryData]);
}

function foreign(namespace: string): Problem {
  return {
    ...{ severity: 'error', source: 'kubernetes', line: 1, object: label(namespace) },
    message:
      'this ConfigMap is not of Heddle and is left alone: sidecars in its namespace need the trust bundle under this name. Rename yours',
  };
}
