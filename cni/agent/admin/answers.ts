import { addressText, isNoAddress } from '../../../common/address.ts';
import type {
  AgentStatus,
  CaptureStatus,
  EndpointStatus,
  KernelState,
  ServiceStatus,
} from '../../../common/pod-network.ts';
import { EP, protocolName, SCOPE } from '../../maps/constants.ts';
import { type Entry, keyText } from '../../maps/entries.ts';
import { decode, encode } from '../../maps/struct.ts';
import { TABLES } from '../../maps/tables.ts';
import { AddressBook } from '../address-book.ts';
import { comparison, mapStatuses } from './kernel.ts';
import type { AgentView } from './view.ts';

/** The status; `kernel`: with a look at the kernel's own maps. */
export function statusOf(view: AgentView, kernel: boolean): AgentStatus {
  const localPods = view.localPods();
  const captured = localPods.filter((pod) => pod.captured);
  const sidecars = view.sidecars();
  const policy = view.policy();
  const services = view.services();
  return {
    ...view.condition(),
    pods: {
      attached: localPods.length,
      captured: captured.length,
      confirmed: captured.filter(({ podId }) => sidecars.has(podId)).length,
    },
    known: {
      ...{ nodes: view.nodes().size, pods: view.pods().length, policies: policy.policies.size },
      services: new Set(
        services.frontends.map(({ owner }) => owner).filter((owner) => owner.startsWith('Service ')),
      ).size,
    },
    drops: view.drops.counts(),
    problems: [...policy.problems, ...services.problems],
    maps: kernel ? mapStatuses(view) : undefined,
  };
}

/** Every address that the node's maps know, in the order of the addresses. */
export function endpointsOf(view: AgentView, kernel: boolean): readonly EndpointStatus[] {
  const book = bookOf(view);
  const devices = new Map(view.localPods().map((pod) => [pod.podId, pod.hostIfname]));
  const compared = kernel ? comparison(view, 'endpoint') : undefined;
  const row = ({ key, value }: Entry, state: KernelState | undefined): EndpointStatus => {
    const ip = addressText(key);
    const { flags, node, podId, mac, identity, ingressSet, egressSet } = decode(TABLES.endpoint.value, value);
    const local = (flags & EP.LOCAL) !== 0;
    return {
      ...{ ip, ...book.find(ip), via: isNoAddress(node) ? '' : addressText(node), local },
      ...{ meshed: (flags & EP.MESHED) !== 0, identity, ingressSet, egressSet },
      ...{ device: local ? (devices.get(podId) ?? '') : '', mac: local ? mac : '', kernel: state },
    };
  };
  const wanted = [...(view.plan()?.wanted.endpoint ?? [])].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [
    ...wanted.map(([key, entry]) => row(entry, compared?.stateOf(key))),
    ...(compared?.stale ?? []).map((entry) => row(entry, 'stale')),
  ];
}

/** Every address and port at which the node serves a Service or a hostPort. */
export function servicesOf(view: AgentView, kernel: boolean): readonly ServiceStatus[] {
  const compared = kernel ? comparison(view, 'service') : undefined;
  const planned = view.services().frontends.map(
    ({ key, value, kind, owner, backends }): ServiceStatus => ({
      ...{ owner, kind, ...frontendOf(key), affinitySeconds: value.affinityS, backends },
      kernel: compared?.stateOf(keyText(encode(TABLES.service.key, key))),
    }),
  );
  const stale = (compared?.stale ?? []).map(
    ({ key, value }): ServiceStatus => ({
      ...{
        owner: '',
        kind: '',
        ...frontendOf(decode(TABLES.service.key, key)),
        backends: [],
        kernel: 'stale',
      },
      affinitySeconds: decode(TABLES.service.value, value).affinityS,
    }),
  );
  return [...planned, ...stale];
}

interface FrontendPlace {
  readonly address: Buffer;
  readonly port: number;
  readonly protocol: number;
  readonly scope: number;
}

function frontendOf({ address, port, protocol, scope }: FrontendPlace) {
  const internal = scope === SCOPE.INTERNAL;
  return {
    ...{ ip: addressText(address), port, protocol: protocolName(protocol) },
    scope: internal ? ('internal' as const) : ('external' as const),
  };
}

/** The pods of this node, whether in the mesh, with their sidecars and what they skip. */
export function captureOf(view: AgentView): readonly CaptureStatus[] {
  const sidecars = view.sidecars();
  return view.localPods().map(({ namespace, name, ips, podId, captured, skip }) => {
    const cgroup = sidecars.get(podId);
    const sidecarCgroup = captured && cgroup !== undefined ? String(cgroup) : '';
    return { pod: `${namespace}/${name}`, ips, podId, captured, sidecarCgroup, skip };
  });
}

/** Who has which address now. */
export function bookOf(view: AgentView): AddressBook {
  return new AddressBook({
    ...{ localPods: view.localPods(), pods: view.pods(), nodes: view.nodes(), services: view.services() },
    controlPlane: view.controlPlane(),
  });
}
