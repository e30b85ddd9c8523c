import { prefixText } from '../../../common/address.ts';
import type { IsolationStatus, PolicyRuleStatus, PolicyStatus } from '../../../common/pod-network.ts';
import type { NamedPort, PolicyPlan, PortRange, SetRule } from '../../policy/plan.ts';
import type { Peer } from '../../policy/policy.ts';
import { PORT_MAX } from '../../policy/ports.ts';
import type { AgentView } from './view.ts';

/** What isolates each pod of this node, and what it is allowed all the same. */
export function policiesOf(view: AgentView): readonly PolicyStatus[] {
  const plan = view.policy();
  return [...plan.localPods.values()]
    .map(({ namespace, name, ips, ingressSet, egressSet }) => ({
      ...{ pod: `${namespace}/${name}`, ips },
      ingress: isolationOf(plan, ingressSet),
      egress: isolationOf(plan, egressSet),
    }))
    .toSorted((a, b) => (a.pod < b.pod ? -1 : 1));
}

function isolationOf(plan: PolicyPlan, number: number): IsolationStatus {
  const set = plan.sets.get(number);
  return {
    ...{ set: number, policies: set?.isolatedBy ?? [], entries: set?.entries.length ?? 0 },
    rules: (set?.rules ?? []).map(ruleStatus),
  };
}

function ruleStatus({ rule, ports, namedPorts }: SetRule): PolicyRuleStatus {
  const texts = ports === 'any' ? [] : [...ports.map(rangeText), ...namedPorts.map(namedText)];
  return {
    ...{
      policy: rule.policy,
      index: rule.index,
      peers: peerTexts(rule.peers),
    },
    // A name that no port of the pod has leaves a rule without ports: it allows nothing.
    ports: ports !== 'any' && texts.length === 0 ? ['none'] : texts,
  };
}

/** Where no peer of a rule can be used, it allows nobody. */
function peerTexts(peers: readonly Peer[] | 'any'): readonly string[] {
  if (peers === 'any') return [];
  return peers.length === 0 ? ['none'] : peers.map(peerText);
}

function rangeText({ protocol, from, to }: PortRange): string {
  if (from === 0 && to === PORT_MAX) return protocol;
  return `${protocol}/${from === to ? from : `${from}-${to}`}`;
}

function namedText({ protocol, name }: NamedPort): string {
  return `${protocol}/${name}`;
}

function peerText(peer: Peer): string {
  if (peer.kind === 'block') {
    const { cidr, except } = peer.block;
    const without = except.length === 0 ? '' : ` except ${except.map(prefixText).join(', ')}`;
    return `${prefixText(cidr)}${without}`;
  }
  const pods = peer.pods.text === '' ? 'all pods' : `pods ${peer.pods.text}`;
  if (peer.namespace !== undefined) return `${pods} in ${peer.namespace}`;
  return `${pods} in ${peer.namespaces.text === '' ? 'all namespaces' : `namespaces ${peer.namespaces.text}`}`;
}
