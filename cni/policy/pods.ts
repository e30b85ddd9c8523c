import { addressBytes, addressText, canonicalAddress } from '../../common/address.ts';
import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import {
  createdAtMs,
  keyOf,
  namespaceOf,
  objectsOf,
  portOf,
  recordOf,
  stringMap,
  textOf,
} from '../../model/read/meta.ts';

/** A pod that this node has added to its network. */
export interface LocalPodRef {
  readonly namespace: string;
  readonly name: string;
  /** Of the Pod object; empty where the runtime didn't say it. */
  readonly uid: string;
  readonly ips: readonly string[];
}

/** A pod with addresses of its own, as policy sees it. */
export interface PolicyPod {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly namedPorts: ReadonlyMap<string, number>;
  /** As `addressText` writes them. */
  readonly ips: readonly string[];
}

/** Set by the API server on every namespace (Kubernetes: Well-Known Labels). */
const NAMESPACE_NAME_LABEL = 'kubernetes.io/metadata.name';
/** On a mirror of a static pod: the uid that the runtime knows the pod by. */
const CONFIG_HASH = 'kubernetes.io/config.hash';

/**
 * The pods that have addresses. Those of the host's network have none of their own, and neither has one that has ended
 * (Kubernetes: Pod Lifecycle). A local pod has the addresses it was given, also before its Pod says so; of two that claim
 * one address a local pod has it, else the one that isn't being deleted, else the younger.
 */
export function readPods(
  objects: readonly SourcedObject[],
  local: readonly LocalPodRef[],
): readonly PolicyPod[] {
  const refs = new Map(local.map((ref) => [`${ref.namespace}/${ref.name}`, ref]));
  const taken = new Set(local.flatMap((ref) => ref.ips.map(canonical)));
  const pods: PolicyPod[] = [];
  for (const object of objects.map((one) => one.object).toSorted(byClaim)) {
    const ref = refs.get(keyOf(object));
    const isLocal = ref !== undefined && isSamePod(object, ref);
    const ips = isLocal ? ref.ips.map(canonical) : statusIps(object).filter((ip) => !taken.has(ip));
    if (!isLocal) for (const ip of ips) taken.add(ip);
    if (isLocal || ips.length > 0) pods.push(podOf(object, ips));
  }
  return pods.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

/** Labels of a namespace; its name is always one. */
export function namespaceLabels(
  objects: readonly SourcedObject[],
): (name: string) => ReadonlyMap<string, string> {
  const known = new Map<string, ReadonlyMap<string, string>>();
  for (const { object } of objects) {
    const { name } = object.metadata;
    known.set(name, new Map(stringMap(object.metadata.labels)).set(NAMESPACE_NAME_LABEL, name));
  }
  return (name) => known.get(name) ?? new Map([[NAMESPACE_NAME_LABEL, name]]);
}

/** A Pod that was made anew under the same name has another uid, and isn't the one that stands here. */
function isSamePod(object: KubeObject, ref: LocalPodRef): boolean {
  const uid = textOf(object.metadata.uid);
  if (uid === undefined || ref.uid === '' || uid === ref.uid) return true;
  return stringMap(object.metadata.annotations).get(CONFIG_HASH) === ref.uid;
}

function byClaim(a: SourcedObject['object'], b: SourcedObject['object']): number {
  const deleted = Number(isDeleted(a)) - Number(isDeleted(b));
  return deleted || createdAtMs(b) - createdAtMs(a) || (keyOf(a) < keyOf(b) ? -1 : 1);
}

function isDeleted(object: KubeObject): boolean {
  return textOf(object.metadata.deletionTimestamp) !== undefined;
}

/** The addresses of its own that a Pod's status names, in their one form; none of the node's, and none once it has ended. */
export function statusIps(object: KubeObject): readonly string[] {
  const status = recordOf(object.status);
  if (recordOf(object.spec).hostNetwork === true) return [];
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return [];
  const texts = [textOf(status.podIP), ...objectsOf(status.podIPs).map((one) => textOf(one.ip))];
  return [...new Set(texts.map(canonicalAddress).filter((ip) => ip !== undefined))];
}

function podOf(object: KubeObject, ips: readonly string[]): PolicyPod {
  return {
    key: keyOf(object),
    namespace: namespaceOf(object),
    labels: stringMap(object.metadata.labels),
    namedPorts: namedPortsOf(recordOf(object.spec)),
    ips,
  };
}

/** The first port of a name wins, as it does for a Service's targetPort; sidecars stand among the init containers. */
function namedPortsOf(spec: Readonly<Record<string, unknown>>): ReadonlyMap<string, number> {
  const sidecars = objectsOf(spec.initContainers).filter((one) => one.restartPolicy === 'Always');
  const found = new Map<string, number>();
  for (const container of [...objectsOf(spec.containers), ...sidecars]) {
    for (const port of objectsOf(container.ports)) {
      const name = textOf(port.name);
      const number = portOf(port.containerPort);
      const key = `${textOf(port.protocol) ?? 'TCP'}/${name}`;
      if (name !== undefined && number !== undefined && !found.has(key)) found.set(key, number);
    }
  }
  return found;
}

/** As `canonicalAddress`, of what is known to be an address. Throws `address` otherwise. */
export function canonical(ip: string): string {
  return addressText(addressBytes(ip));
}
