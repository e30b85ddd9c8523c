import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readIfThere } from '../../common/atomic-file.ts';
import { type Clock, sleep } from '../../common/clock.ts';
import { SIDECAR } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { type Dialer, dialUnix } from '../../common/net.ts';
import type { KubeObject } from '../../model/objects.ts';
import { podSpecOf } from '../local/pod-spec.ts';
import { type Attachment, CNI_TRY_AGAIN, CniRuntime } from './cni-runtime.ts';
import { type Host, succeed } from './host.ts';
import { type NodePlace, netnsPath, nodeObject, nodePaths, podNamespace, type Underlay } from './layout.ts';
import { cleanMade, type Made } from './made.ts';
import { nodeDialer } from './node-dialer.ts';
import type { NodeProcesses } from './node-processes.ts';
import type { MeshNetwork, NetworkRequest, PodAddresses } from './pod-network.ts';
import { PodSandbox } from './sandbox.ts';
import type { TrustFolder } from './trust-folder.ts';
import { chooseUnderlay, makePodNamespace, makeUnderlay, removeNamespace } from './underlay.ts';
import { openWorld } from './world.ts';

/** What this kind of network can't do, in sentences for a person. */
export const EBPF_LIMITS: readonly string[] = [
  'containers see the files and processes of this machine: no image is pulled, and CPU and memory limits are not enforced',
  'pods reach the world outside this machine over IPv4 only',
];

/** A pod waits this long for an agent that is being started again. */
const attachMs = 120_000;
const attachPauseMs = 250;
/** From the kill of a pod's last process to the end of its cgroup. */
const cgroupGoneMs = 5_000;
const cgroupPollMs = 10;

export interface EbpfSettings {
  readonly clock: Clock;
  readonly host: Host;
  readonly mesh: string;
  /** The mesh's folder of sockets and state. */
  readonly run: string;
  readonly nodes: number;
  readonly ipv6: boolean;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly made: Made;
  /** The file of `made`. */
  readonly madeFile: string;
  /** The CNI plugin's program. */
  readonly plugin: string;
  /** cgroup v2 folder of the mesh. */
  readonly cgroup: string;
  readonly podsDirectory: string;
  readonly trustDirectory: string;
  /** Folders that programs are started from: see PodSandbox. */
  readonly programDirectories: readonly string[];
  /** Made once the underlay's addresses are known. */
  processes(underlay: Underlay): Pick<NodeProcesses, 'start' | 'ready' | 'stop'>;
  trust(): Pick<TrustFolder, 'close'>;
  say(line: string): void;
}

interface Attached {
  readonly attachment: Attachment;
  /** The pod's own namespace; undefined in its node's network. */
  readonly netns: string | undefined;
  readonly cgroup: string;
}

/**
 * Nodes as network namespaces behind a bridge, pods as namespaces behind their nodes, attached by the real CNI plugin and
 * agents. Needs root; everything that it makes is named in a file before it is made.
 */
export class EbpfNetwork implements MeshNetwork {
  readonly name = 'ebpf';
  readonly capture = 'transparent';
  readonly #settings: EbpfSettings;
  readonly #cni: CniRuntime;
  readonly #pods = new Map<string, Attached>();
  readonly #adding = new Set<Promise<unknown>>();
  #underlay: Underlay | undefined;
  #processes: Pick<NodeProcesses, 'start' | 'ready' | 'stop'> | undefined;
  #trust: Pick<TrustFolder, 'close'> | undefined;
  #stopping = false;

  constructor(settings: EbpfSettings) {
    this.#settings = settings;
    this.#cni = new CniRuntime(settings.host, settings.plugin);
  }

  async start(): Promise<void> {
    const { host, mesh, run, nodes, ipv6, made, cgroup } = this.#settings;
    const underlay = await chooseUnderlay(host, mesh, nodes, ipv6);
    this.#underlay = underlay;
    mkdirSync(dirname(run), { recursive: true, mode: 0o755 });
    made.add('folder', run);
    mkdirSync(run, { recursive: true, mode: 0o700 });
    const bpf = join(run, 'bpf');
    made.add('bpffs', bpf);
    mkdirSync(bpf, { recursive: true });
    await succeed(host, 'mount', ['-t', 'bpf', 'bpf', bpf]);
    made.add('cgroup', cgroup);
    for (const place of underlay.nodes) mkdirSync(join(cgroup, place.name), { recursive: true });
    await makeUnderlay(host, underlay, made, ipv6);
    await openWorld(host, mesh, underlay, made).catch((thrown: unknown) => {
      this.#settings.say(`pods can't reach anything outside this machine: ${messageOf(thrown)}`);
    });
    this.#trust = this.#settings.trust();
    this.#processes = this.#settings.processes(underlay);
    this.#processes.start(underlay.nodes);
  }

  async ready(): Promise<void> {
    await this.#processes?.ready(this.#underlay?.nodes ?? []);
  }

  controlPlaneAddress(): string {
    return this.#underlay?.ip4 ?? '127.0.0.1';
  }

  agentSockets(): readonly string[] {
    const { run } = this.#settings;
    return (this.#underlay?.nodes ?? []).map((place) => nodePaths(run, place.name).adminSocket);
  }

  nodes(): readonly KubeObject[] {
    const { ipv6, startedAt } = this.#settings;
    return (this.#underlay?.nodes ?? []).map((place) => nodeObject(place, ipv6, startedAt));
  }

  hostIps(node: number): readonly string[] {
    const place = this.#place(node);
    return this.#settings.ipv6 ? [place.ip4, place.ip6] : [place.ip4];
  }

  dialer(node: number): Dialer {
    const { relaySocket } = nodePaths(this.#settings.run, this.#place(node).name);
    return nodeDialer(() => dialUnix(relaySocket));
  }

  async add(request: NetworkRequest): Promise<PodAddresses> {
    const adding = this.#add(request);
    const settled = adding.then(
      () => undefined,
      () => undefined,
    );
    this.#adding.add(settled);
    void settled.then(() => this.#adding.delete(settled));
    return adding;
  }

  async #add({ pod, node, injected }: NetworkRequest): Promise<PodAddresses> {
    const { mesh, run, cgroup, podsDirectory, trustDirectory, programDirectories, made, host } =
      this.#settings;
    const place = this.#place(node);
    const uid = pod.metadata.uid ?? '';
    const own = podSpecOf(pod).hostNetwork ? undefined : podNamespace(mesh, pod);
    const netns = netnsPath(own ?? place.netns);
    const podCgroup = join(cgroup, place.name, uid);
    const attachment = { pod, netns, agentSocket: nodePaths(run, place.name).cniSocket };
    this.#pods.set(uid, { attachment, netns: own, cgroup: podCgroup });
    try {
      mkdirSync(podCgroup, { recursive: true });
      if (own !== undefined) {
        made.add('netns', own);
        await makePodNamespace(host, own);
      }
      const ips = own === undefined ? this.hostIps(node) : await this.#attach(attachment);
      const sandbox = new PodSandbox({
        ...{ pod, ips, nodeName: place.name, netns, cgroup: podCgroup, trustDirectory, programDirectories },
        directory: join(podsDirectory, uid, 'sandbox'),
        machine: {
          resolvConf: readIfThere('/etc/resolv.conf') ?? '',
          hosts: readIfThere('/etc/hosts') ?? '127.0.0.1\tlocalhost\n',
        },
      });
      const env = new Map(injected ? [[SIDECAR.container, { HEDDLE_CAPTURE: 'transparent' }]] : []);
      return { ips, env, netns, sandbox };
    } catch (thrown) {
      await this.remove(uid);
      throw thrown;
    }
  }

  /** ADD, again while the agent says that it can't yet: the pod isn't started meanwhile, so nothing passes it by. */
  async #attach(attachment: Attachment): Promise<readonly string[]> {
    const { clock } = this.#settings;
    const endMs = clock.now() + attachMs;
    for (;;) {
      try {
        return await this.#cni.add(attachment);
      } catch (thrown) {
        const later = thrown instanceof HeddleError && thrown.code === CNI_TRY_AGAIN;
        if (!later || this.#stopping || clock.now() > endMs) throw thrown;
        await sleep(clock, attachPauseMs);
      }
    }
  }

  async remove(podUid: string): Promise<void> {
    const { host, made, say } = this.#settings;
    const attached = this.#pods.get(podUid);
    if (attached === undefined) return;
    this.#pods.delete(podUid);
    await this.#removeCgroup(attached.cgroup);
    if (attached.netns === undefined) return;
    const { name } = attached.attachment.pod.metadata;
    await this.#cni.delete(attached.attachment).catch((thrown: unknown) => {
      say(`pod ${name}: ${messageOf(thrown)}; its namespace is removed all the same`);
    });
    try {
      await removeNamespace(host, attached.netns);
      made.forget('netns', attached.netns);
    } catch (thrown) {
      // It stays in the file of what was made, so that the mesh's end tries again.
      say(`pod ${name}: ${messageOf(thrown)}`);
    }
  }

  async check(podUid: string): Promise<string | undefined> {
    const attached = this.#pods.get(podUid);
    if (attached === undefined) return 'the pod has no address';
    if (attached.netns === undefined) return undefined;
    try {
      await this.#cni.check(attached.attachment);
      return undefined;
    } catch (thrown) {
      return messageOf(thrown);
    }
  }

  async stop(): Promise<void> {
    const { host, madeFile, say } = this.#settings;
    this.#stopping = true;
    await Promise.all(this.#adding);
    this.#trust?.close();
    await this.#processes?.stop();
    for (const line of await cleanMade(host, madeFile)) say(line);
  }

  #place(node: number): NodePlace {
    const place = this.#underlay?.nodes[node];
    if (place === undefined) throw new HeddleError('network', `there is no node ${node + 1}`);
    return place;
  }

  /** Ends what the pod's containers left behind, and removes their folders (cgroups(7), "cgroup.kill"). */
  async #removeCgroup(folder: string): Promise<void> {
    const { clock, say } = this.#settings;
    const endMs = clock.now() + cgroupGoneMs;
    for (;;) {
      try {
        writeFileSync(join(folder, 'cgroup.kill'), '1');
        for (const entry of readdirSync(folder, { withFileTypes: true }))
          if (entry.isDirectory()) rmdirSync(join(folder, entry.name));
        rmdirSync(folder);
        return;
      } catch (thrown) {
        if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return;
        if (clock.now() > endMs) {
          say(`${folder}: ${messageOf(thrown)}`);
          return;
        }
        await sleep(clock, cgroupPollMs);
      }
    }
  }
}
