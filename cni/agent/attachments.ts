import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { KubeObject } from '../../model/objects.ts';
import { netnsCookie, netnsGone } from '../kernel/netns.ts';
import { CAPTURED_DEVICE } from '../setup/capture-wanted.ts';
import { addPodLink, hostIfnameOf, type PodLink, podLinkProblems, removePodLink } from '../setup/pod.ts';
import { addCapture, captureProblems, removeCapture } from '../setup/pod-capture.ts';
import { linkBehind } from '../setup/pod-link-behind.ts';
import { GATEWAY4, GATEWAY6 } from '../setup/pod-wanted.ts';
import {
  CNI_CODES,
  type CniAddRequest,
  type CniAttachment,
  type CniCheckRequest,
  type CniDelRequest,
  CniError,
  type CniHandler,
  type CniPod,
  type CniResult,
} from './cni/handler.ts';
import type { Ipam } from './ipam/ipam.ts';
import type { LocalPod, LocalPods } from './local-pods.ts';
import type { NetworkMode } from './options.ts';
import { isMeshed, skippedBy } from './pod-facts.ts';
import type { NodePrograms } from './programs/node-programs.ts';

export interface AttachmentsDeps {
  readonly mode: NetworkMode;
  readonly nodeNetns: string | undefined;
  readonly localPods: LocalPods;
  /** Undefined where another CNI gives addresses. */
  readonly ipam: Ipam | undefined;
  readonly programs: NodePrograms;
  /** What pods may send, in bytes. */
  mtu(): number;
  /** Of the node. */
  nodeAddresses(): readonly string[];
  /** The Pod, once the node has heard of it; undefined where `signal` comes first. */
  knownPod(pod: CniPod, signal: AbortSignal): Promise<KubeObject | undefined>;
  /** Told of each pod that stands. */
  added(pod: LocalPod): void;
  /** Resolves when the maps say what stands now. */
  settled(): Promise<void>;
  /** Why pods can't be added; empty where they can. */
  unready(): string;
  readonly log: Logger;
}

/** Attaches pods to this node's network, and takes them off: what the CNI plugin was called for. */
export class Attachments implements CniHandler {
  readonly #deps: AttachmentsDeps;

  constructor(deps: AttachmentsDeps) {
    this.#deps = deps;
  }

  /**
   * In the order in which nothing can go past policy or the sidecar: address, device, programs, maps; the pod's first process
   * starts after that.
   */
  async add(request: CniAddRequest): Promise<CniResult | undefined> {
    this.#requireMode(request);
    const known = this.#deps.localPods.find(request.containerId, request.ifname);
    if (known !== undefined && known.netns !== request.netns)
      throw new CniError(
        CNI_CODES.invalidEnvironment,
        `container ${request.containerId} has an attachment ${request.ifname} in ${known.netns} already`,
        'DEL it first',
      );
    const pod = await this.#podOf(request.pod, request.signal);
    const captured = pod !== undefined && isMeshed(pod) && request.ifname === CAPTURED_DEVICE;
    try {
      const local = this.#stand(request, pod, captured, known);
      this.#deps.localPods.set(local);
      this.#deps.programs.attachPod(placeOf(local, this.#deps.nodeNetns));
      await this.#deps.settled();
      this.#deps.added(local);
      return request.mode === 'full' ? resultOf(local, this.#deps.mtu()) : undefined;
    } catch (thrown) {
      // What stood before is still right: only a first attempt is undone.
      if (known === undefined) await this.#undo(request, thrown);
      throw thrown;
    }
  }

  async del({ containerId, ifname, netns, mode }: CniDelRequest): Promise<void> {
    const { localPods, ipam, programs, nodeNetns } = this.#deps;
    const pod = localPods.find(containerId, ifname);
    if (pod !== undefined) {
      // The number of a device that is gone may be another one's by now.
      const hostIfindex = localPods.standing().includes(pod) ? pod.hostIfindex : 0;
      programs.detachPod({ ...placeOf(pod, nodeNetns), hostIfindex });
    }
    if (mode === 'full') removePodLink(nodeNetns, pod?.hostIfname ?? hostIfnameOf(containerId, ifname));
    else if (pod?.captured === true) removeCaptureIfThere(netns ?? pod.netns, pod.ips);
    if (pod !== undefined) {
      localPods.delete(containerId, ifname);
      // Before somebody else gets the address, nothing may stand for this pod any more.
      await this.#deps.settled();
    }
    ipam?.release({ containerId, ifname });
  }

  async check(request: CniCheckRequest, prevResult: CniResult): Promise<void> {
    const { localPods, programs, nodeNetns, mode } = this.#deps;
    const pod = localPods.find(request.containerId, request.ifname);
    if (pod === undefined)
      throw new CniError(
        CNI_CODES.unknownContainer,
        `no attachment ${request.ifname} of container ${request.containerId} is known`,
      );
    const problems = [
      ...(mode === 'capture' ? [] : podLinkProblems(this.#linkOf(pod))),
      ...(pod.captured ? captureProblems(pod.netns, pod.ips) : []),
      ...programs
        .missingOfPod(placeOf(pod, nodeNetns))
        .map((program) => `the program ${program} doesn't run at the pod's device`),
      ...pod.ips
        .filter((ip) => !prevResult.ips.some(({ address }) => address.split('/')[0] === ip))
        .map((ip) => `the pod has ${ip}, which the result of ADD doesn't name`),
    ];
    if (problems.length > 0)
      throw new CniError(CNI_CODES.internal, problems.join('; '), 'the agent mends it within half a minute');
  }

  async gc(network: string, valid: readonly CniAttachment[], signal: AbortSignal): Promise<void> {
    const { localPods, ipam, mode, log } = this.#deps;
    const keep = new Set(valid.map(keyOf));
    for (const pod of localPods.all()) {
      if (keep.has(keyOf(pod)) || (pod.network ?? network) !== network) continue;
      log.info('an attachment that nobody owns is removed', { pod: `${pod.namespace}/${pod.name}` });
      const { containerId, ifname, netns } = pod;
      const one = { containerId, ifname, netns, network, pod: undefined, signal };
      await this.del({ ...one, mode: mode === 'capture' ? 'capture' : 'full' });
    }
    const known = new Set(localPods.all().map(keyOf));
    ipam?.collect((owner) => known.has(keyOf(owner)));
  }

  async status(): Promise<void> {
    const { ipam } = this.#deps;
    const unready = this.#deps.unready();
    if (unready !== '') throw new CniError(CNI_CODES.notAvailable, `pods can't be added: ${unready}`);
    const full = ipam?.usage().find(({ usable, given }) => given >= usable);
    if (full !== undefined)
      throw new CniError(CNI_CODES.notAvailable, `pods can't be added: no address is left in ${full.block}`);
  }

  /** Devices, addresses and routes, however much of them is there. */
  #stand(
    request: CniAddRequest,
    object: KubeObject | undefined,
    captured: boolean,
    known: LocalPod | undefined,
  ): LocalPod {
    const { containerId, ifname, netns, network, pod, hostPorts } = request;
    const ips = this.#addressesOf(request);
    const podId = known?.podId ?? this.#deps.localPods.nextPodId();
    const base = {
      ...{ containerId, ifname, netns, network, ips, podId, captured, hostPorts },
      ...{ namespace: pod?.namespace ?? '', name: pod?.name ?? containerId },
      uid: pod?.uid ?? object?.metadata.uid ?? '',
      skip: object === undefined ? NOTHING_SKIPPED : skippedBy(object),
      netnsCookie: String(netnsCookie(netns)),
    };
    const hostIfname = hostIfnameOf(containerId, ifname);
    const local =
      request.mode === 'full'
        ? { ...base, hostIfname, ...addPodLink(this.#linkOf({ ...base, hostIfname })) }
        : { ...base, ...linkBehind(netns, ifname, this.#deps.nodeNetns) };
    if (captured) addCapture(netns, ips);
    return local;
  }

  #addressesOf({ mode, containerId, ifname, prevResult }: CniAddRequest): readonly string[] {
    if (mode === 'full') return this.#deps.ipam?.allocate({ containerId, ifname }) ?? [];
    const own = prevResult?.ips.filter(({ interface: index }) => {
      const device = index === undefined ? undefined : prevResult.interfaces[index];
      return device === undefined || (device.sandbox !== undefined && device.name === ifname);
    });
    const ips = (own ?? []).map(({ address }) => address.split('/')[0] ?? '').filter((ip) => ip !== '');
    if (ips.length === 0)
      throw new CniError(CNI_CODES.invalidConfig, `prevResult names no address of ${ifname} to capture for`);
    return ips;
  }

  #linkOf({
    netns,
    ifname,
    hostIfname,
    ips,
  }: Pick<LocalPod, 'netns' | 'ifname' | 'hostIfname' | 'ips'>): PodLink {
    const { nodeNetns, mtu, nodeAddresses } = this.#deps;
    return { netns, nodeNetns, ifname, hostIfname, ips, mtu: mtu(), nodeAddresses: nodeAddresses() };
  }

  async #podOf(pod: CniPod | undefined, signal: AbortSignal): Promise<KubeObject | undefined> {
    if (pod === undefined) return undefined;
    const found = await this.#deps.knownPod(pod, signal);
    if (found !== undefined) return found;
    throw new CniError(
      CNI_CODES.tryAgainLater,
      `the Pod ${pod.namespace}/${pod.name} isn't known to this node yet`,
      'whether it belongs to the mesh, and which policies it has, is told by its object',
    );
  }

  #requireMode({ mode }: CniAddRequest): void {
    const unready = this.#deps.unready();
    if (unready !== '') throw new CniError(CNI_CODES.tryAgainLater, unready);
    if ((mode === 'capture') === (this.#deps.mode === 'capture')) return;
    throw new CniError(
      CNI_CODES.invalidConfig,
      `the network configuration has mode ${mode}, and the agent of this node runs in mode ${this.#deps.mode}`,
    );
  }

  async #undo(request: CniAddRequest, why: unknown): Promise<void> {
    try {
      await this.del(request);
    } catch (thrown) {
      this.#deps.log.warn('what a failed ADD left is removed by its DEL', {
        container: request.containerId,
        error: messageOf(thrown),
        why: messageOf(why),
      });
    }
  }
}

const NOTHING_SKIPPED: LocalPod['skip'] = { inbound: [], outbound: [], cidrs: [] };

/** Where a pod's programs stand. */
export function placeOf(pod: LocalPod, nodeNetns: string | undefined) {
  const { podId, netns, hostIfindex, ips, captured } = pod;
  return { podId, netns, nodeNetns, hostIfindex, ips, captured };
}

function resultOf(pod: LocalPod, mtu: number): CniResult {
  return {
    interfaces: [
      { name: pod.hostIfname, mac: pod.hostMac, mtu },
      { name: pod.ifname, mac: pod.podMac, mtu, sandbox: pod.netns },
    ],
    ips: pod.ips.map((ip) => {
      const six = ip.includes(':');
      return { address: `${ip}/${six ? 128 : 32}`, gateway: six ? GATEWAY6 : GATEWAY4, interface: 1 };
    }),
    routes: pod.ips.map((ip) =>
      ip.includes(':') ? { dst: '::/0', gw: GATEWAY6 } : { dst: '0.0.0.0/0', gw: GATEWAY4 },
    ),
  };
}

function removeCaptureIfThere(netns: string, ips: readonly string[]): void {
  try {
    removeCapture(netns, ips);
  } catch (thrown) {
    if (!netnsGone(thrown)) throw thrown;
  }
}

function keyOf({ containerId, ifname }: CniAttachment): string {
  return `${containerId}/${ifname}`;
}
