import type { Numbering } from './numbers.ts';
import type { Identity } from './plan.ts';
import type { PolicyPod } from './pods.ts';

/** What the policy of a cluster says of its DNS, it says of these pods. */
const DNS_NAMESPACE = 'kube-system';
const DNS_LABELS: ReadonlyMap<string, string> = new Map([['k8s-app', 'kube-dns']]);
const DNS_PORTS: ReadonlyMap<string, number> = new Map([
  ['UDP/dns', 53],
  ['TCP/dns-tcp', 53],
]);

export interface Identities {
  readonly byKey: ReadonlyMap<string, Identity>;
  readonly byPod: ReadonlyMap<string, Identity>;
  readonly dns: Identity;
}

/** An identity for each sort of pod there is, the same object as before where there was one. */
export function identitiesOf(
  pods: readonly PolicyPod[],
  labelsOf: (namespace: string) => ReadonlyMap<string, string>,
  before: ReadonlyMap<string, Identity>,
  numbers: Numbering,
): Identities {
  const namespaces = new Map<string, { labels: ReadonlyMap<string, string>; text: string }>();
  const byKey = new Map<string, Identity>();
  const byPod = new Map<string, Identity>();
  const identify = (pod: Omit<PolicyPod, 'ips' | 'key'>): Identity => {
    let namespace = namespaces.get(pod.namespace);
    if (namespace === undefined) {
      const labels = labelsOf(pod.namespace);
      namespace = { labels, text: textOf(labels) };
      namespaces.set(pod.namespace, namespace);
    }
    const namedPortsKey = textOf(pod.namedPorts);
    const key = JSON.stringify([pod.namespace, namespace.text, textOf(pod.labels), namedPortsKey]);
    const known = byKey.get(key) ?? before.get(key);
    const identity = known ?? {
      number: numbers.of(key),
      key,
      namespace: pod.namespace,
      namespaceLabels: namespace.labels,
      labels: pod.labels,
      namedPorts: pod.namedPorts,
      namedPortsKey,
    };
    byKey.set(key, identity);
    return identity;
  };
  for (const pod of pods) byPod.set(pod.key, identify(pod));
  const dns = identify(dnsPod(pods));
  for (const key of byKey.keys()) numbers.of(key);
  return { byKey, byPod, dns };
}

/** The first of the cluster's DNS pods, or what one would be: the node answers in their place. */
function dnsPod(pods: readonly PolicyPod[]): Omit<PolicyPod, 'ips' | 'key'> {
  const isDns = (pod: PolicyPod): boolean =>
    pod.namespace === DNS_NAMESPACE && pod.labels.get('k8s-app') === DNS_LABELS.get('k8s-app');
  return pods.find(isDns) ?? { namespace: DNS_NAMESPACE, labels: DNS_LABELS, namedPorts: DNS_PORTS };
}

function textOf(map: ReadonlyMap<string, string | number>): string {
  return JSON.stringify([...map].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
