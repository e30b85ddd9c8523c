import type { TransportName } from '../../cni/maps/constants.ts';
import { compilePolicy } from '../../cni/policy/compile.ts';
import type { PolicyPlan } from '../../cni/policy/plan.ts';
import { verdict } from '../../cni/policy/verdict.ts';
import type { JsonObject } from '../../common/json.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { object } from './model-objects.ts';

/** The pods of these tests: namespace, name, address, labels. All of them are of the node that the plan is made for. */
const PODS = [
  ['shop', 'web', '10.244.0.1', { app: 'web', tier: 'front' }],
  ['shop', 'api', '10.244.0.2', { app: 'api', tier: 'back' }],
  ['shop', 'db', '10.244.0.3', { app: 'db' }],
  ['ops', 'prom', '10.244.0.4', { app: 'prom' }],
  ['ops', 'web', '10.244.0.5', { app: 'web' }],
] as const;

const NAMESPACES: readonly SourcedObject[] = [
  object('v1', 'Namespace', 'shop', {}, { namespace: '', labels: { team: 'a' } }),
  object('v1', 'Namespace', 'ops', {}, { namespace: '', labels: { team: 'b' } }),
];

/** An address by the short name of a pod, `shop/web`; anything else stands for itself. */
function addressOfPod(name: string): string {
  return PODS.find(([namespace, pod]) => `${namespace}/${pod}` === name)?.[2] ?? name;
}

export function networkPolicy(name: string, spec: JsonObject, namespace = 'shop'): SourcedObject {
  return object('networking.k8s.io/v1', 'NetworkPolicy', name, spec, { namespace });
}

export function policyPlan(policies: readonly SourcedObject[], previous?: PolicyPlan): PolicyPlan {
  const pods = PODS.map(([namespace, name, podIP, labels]) =>
    podObject(namespace, name, podIP, { ...labels }),
  );
  const localPods = PODS.map(([namespace, name, ip]) => ({
    ...{ namespace, name, uid: '', ips: [ip] },
  }));
  return compilePolicy({
    ...{ namespaces: NAMESPACES, pods, policies, node: { name: 'n1', localPods } },
    ...(previous === undefined ? {} : { previous }),
  });
}

/** Whether a connection is let through, and why, both directions together. */
export function judged(
  plan: PolicyPlan,
  from: string,
  to: string,
  port = 80,
  protocol: TransportName | undefined = 'TCP',
): { readonly allowed: boolean; readonly reasons: readonly string[] } {
  const found = verdict(plan, { from: addressOfPod(from), to: addressOfPod(to), protocol, port });
  const reasons = [found.egress, found.ingress].flatMap((one) => (one === undefined ? [] : [one.reason]));
  return { allowed: found.allowed, reasons };
}

function podObject(namespace: string, name: string, podIP: string, labels: JsonObject): SourcedObject {
  const ports = [{ name: 'http', containerPort: name === 'web' ? 8080 : 80 }];
  const made = object(
    'v1',
    'Pod',
    name,
    { nodeName: 'n1', containers: [{ name: 'app', ports }] },
    { namespace, labels: labels as Readonly<Record<string, string>> },
  );
  const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }] };
  return { ...made, object: { ...made.object, status } };
}
