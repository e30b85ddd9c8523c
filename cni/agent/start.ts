import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { prefixText } from '../../common/address.ts';
import { writeAtomically } from '../../common/atomic-file.ts';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { Attachments } from './attachments.ts';
import { pluginFile } from './beside.ts';
import { Changes } from './changes.ts';
import { findPod } from './cluster.ts';
import { installPlugin } from './cni/install.ts';
import { startCniServer } from './cni/server.ts';
import { controlPlaneAddresses } from './control-plane.ts';
import { followCluster, ownNode } from './follow.ts';
import { HealthChecks } from './health-checks.ts';
import { openIpam } from './ipam/ipam.ts';
import { LocalPods } from './local-pods.ts';
import { NodeGround } from './node-ground.ts';
import { NodeMaps } from './node-maps.ts';
import { clusterNodes } from './nodes.ts';
import { NumbersFile } from './numbers-file.ts';
import type { AgentOptions } from './options.ts';
import { Pipeline, type Round } from './pipeline.ts';
import { requireNetwork } from './preflight.ts';
import { NodePrograms } from './programs/node-programs.ts';
import { recallPods, retireGonePods } from './recall.ts';
import { Repair } from './repair.ts';
import { Settling } from './settling.ts';
import { sidecarJudge } from './sidecar-judge.ts';
import { Sidecars } from './sidecars.ts';
import { soleAgent } from './sole-agent.ts';
import { chooseUplink } from './uplink.ts';
import { startWatching } from './watching.ts';

/** A runtime that adds a pod before the node has heard of it waits this long, then asks again. */
const podKnownMs = 10_000;
/** Between looks at the processes of sidecars whose beginning nobody was told of. */
const sidecarScanMs = 10_000;

export interface AgentDeps {
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Agent {
  /** Takes no more calls and goes; everything on the node stays at work. */
  close(): Promise<void>;
}

/**
 * Starts the agent of a node, in the order in which a node that is running already goes on running: nothing of an earlier
 * agent is taken away before its successor stands.
 */
export async function startAgent(given: AgentOptions, deps: AgentDeps): Promise<Agent> {
  const { clock, log } = deps;
  const closing: (() => void | Promise<void>)[] = [];
  const close = async () => {
    for (const end of closing.splice(0).reverse()) await end();
  };
  try {
    // 1. What the machine must offer.
    requireNetwork(given);

    // 2. The cluster's objects, and among them this node's own.
    const changes = new Changes(clock);
    const cluster = await followCluster(given, deps, changes);
    closing.push(cluster.close);
    const own = await ownNode(given, deps, cluster.current, changes);
    const controlPlane = () => controlPlaneAddresses(given, cluster.current());

    // 3. One agent at a time: the one before it may still give addresses and write maps.
    const standBy = onceInFile(given.standbyFile, closing);
    const alone = await soleAgent(given.stateDirectory, { ...deps, onWait: standBy });
    closing.push(() => alone[Symbol.dispose]());
    const options = { ...given, uplink: chooseUplink(given, own) };

    // 4. Devices, addresses, routes and masquerade of the node.
    const ground = new NodeGround(options, deps);
    ground.apply(clusterNodes(cluster.current().nodes));

    // 5. Programs, loaded over the maps that an earlier agent left.
    const programs = new NodePrograms({ pins: options.pins, log });
    closing.push(() => programs[Symbol.dispose]());
    const maps = new NodeMaps((name) => programs.map(name));

    // 6. The pods that stand already, and their addresses.
    const localPods = new LocalPods(join(options.stateDirectory, 'pods'), log);
    retireGonePods(localPods, log);
    const ipam =
      options.mode === 'capture'
        ? undefined
        : openIpam(join(options.stateDirectory, 'addresses'), {
            ...{ blocks: own.podBlocks.map(prefixText), found: localPods.all(), log },
          });
    if (ipam !== undefined) closing.push(() => ipam.close());

    // 7. Sidecars: who of the node's processes may go past capture.
    const sidecars = new Sidecars({
      maps: {
        ...{ pod: programs.map('pod_map'), listener: programs.map('listener_map') },
        sidecarSocket: programs.map('sidecar_socket_map'),
        candidate: programs.map('candidate_ring'),
      },
      cgroupMount: ground.cgroupMount,
      isSidecar: sidecarJudge({ localPods, cluster: cluster.current, changes }),
      ...{ clock, log },
    });
    closing.push(() => sidecars[Symbol.dispose]());

    // 8. The first round: all maps say what holds, before a program is put over them.
    const numbers = new NumbersFile(join(options.stateDirectory, 'numbers.json'), log);
    const healthChecks = new HealthChecks(options.nodeNetns, log);
    closing.push(() => healthChecks.close());
    let observeRound: (round: Round) => void = () => undefined;
    const pipeline = new Pipeline({
      maps,
      numbers: { policy: numbers.read(), services: { numbers: maps.serviceNumbers() } },
      facts: (nodes) => ({ ...ground.facts(nodes), controlPlane: controlPlane() }),
      cluster: cluster.current,
      localPods: () => localPods.standing(),
      sidecars: () => sidecars.confirmed(),
      keepNumbers: (policy) => numbers.write(policy),
      onRound: (round) => {
        healthChecks.apply(round.services.healthChecks);
        observeRound(round);
      },
      ...{ clock, log },
    });
    closing.push(() => pipeline.close());
    await pipeline.settled();

    // 9. Programs take their places: sockets, devices, pods.
    programs.attachSockets(options.cgroup);
    programs.attachDevices(ground.devices());
    recallPods({ localPods, programs, ground, log });
    const scanSidecars = () => void sidecars.scan().catch(logFailure(log, 'sidecars'));
    scanSidecars();

    // 10. From here on changes find their way by themselves.
    cluster.follow((nodes) => {
      ground.follow(nodes);
      pipeline.changed();
    });
    const settling = new Settling({ ...{ localPods, programs, nodeNetns: options.nodeNetns, clock, log } });
    closing.push(() => settling.close());
    const repair = new Repair({ ...{ maps, programs, ground, localPods, pipeline, settling, clock, log } });
    closing.push(() => repair.close());
    const scan = clock.every(sidecarScanMs, scanSidecars);
    closing.push(() => scan.cancel());

    // 11. Whoever asks: the CNI plugin, people, Prometheus.
    const attachments = new Attachments({
      ...{ mode: options.mode, nodeNetns: options.nodeNetns, localPods, ipam, programs, log },
      mtu: () => ground.mtu(),
      nodeAddresses: () => ground.addresses(),
      knownPod: ({ namespace, name, uid }, signal) =>
        changes.until(() => findPod(cluster.current(), namespace, name, uid), {
          ...{ timeoutMs: podKnownMs, signal },
        }),
      settled: () => pipeline.settled(),
      added: (pod) => settling.add(pod),
      unready: () => (pipeline.last() === undefined ? 'the node is not set up yet' : ''),
    });
    const watching = await startWatching({
      ...{
        options,
        clock,
        log,
        programs,
        maps,
        localPods,
        ipam,
        sidecars,
        pipeline,
        repair,
        settling,
        ground,
      },
      cluster: cluster.current,
      controlPlane,
      shutdown: () => process.kill(process.pid, 'SIGTERM'),
    });
    observeRound = watching.observeRound;
    closing.push(watching.close);
    const server = await startCniServer({
      ...{ socket: options.socket, handler: attachments, clock, log, nodeNetns: options.nodeNetns },
      observe: watching.observeCall,
    });
    closing.push(() => server.close());
    await server.caughtUp;
    if (options.cni !== undefined) {
      const { changed } = installPlugin(
        { ...options.cni, plugin: pluginFile() },
        options.socket,
        options.chained,
      );
      for (const file of changed) log.info('the CNI plugin is installed', { file });
    }
    onceInFile(options.readyFile, closing)();
    standBy();
    watching.serving();
    log.info('the pod network of this node is ready', { node: options.node, mode: options.mode });
    return { close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** Writes a file when it is called first, which goes again when the agent ends. One that an agent left which was killed goes now. */
function onceInFile(path: string | undefined, closing: (() => void)[]): () => void {
  if (path === undefined) return () => undefined;
  const remove = () => rmSync(path, { force: true });
  remove();
  let written = false;
  return () => {
    if (written) return;
    written = true;
    writeAtomically(path, `${process.pid}\n`);
    closing.push(remove);
  };
}

function logFailure(log: Logger, what: string): (thrown: unknown) => void {
  return (thrown) => log.warn(`${what} could not be looked at`, { error: messageOf(thrown) });
}
