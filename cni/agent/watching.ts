import { createServer } from 'node:http';
import type { Clock } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { bootTimeNs } from '../kernel/boot-time.ts';
import { startAdmin } from './admin/server.ts';
import type { AgentView } from './admin/view.ts';
import { ownVersion } from './beside.ts';
import type { ClusterObjects } from './cluster.ts';
import { conditionOf } from './condition.ts';
import { readDrops } from './drop-reader.ts';
import { DropLog } from './drops.ts';
import type { Ipam } from './ipam/ipam.ts';
import type { LocalPods } from './local-pods.ts';
import { AgentMetrics } from './metrics.ts';
import type { NodeGround } from './node-ground.ts';
import type { NodeMaps } from './node-maps.ts';
import type { AgentOptions } from './options.ts';
import type { Pipeline, Round } from './pipeline.ts';
import type { NodePrograms } from './programs/node-programs.ts';
import type { Repair } from './repair.ts';
import type { Settling } from './settling.ts';
import type { Sidecars } from './sidecars.ts';
import { uninstallNode } from './uninstall.ts';

export interface WatchingInput {
  readonly options: AgentOptions;
  readonly clock: Clock;
  readonly log: Logger;
  readonly programs: NodePrograms;
  readonly maps: NodeMaps;
  readonly localPods: LocalPods;
  readonly ipam: Ipam | undefined;
  readonly sidecars: Sidecars;
  readonly pipeline: Pipeline;
  readonly repair: Repair;
  readonly settling: Settling;
  readonly ground: NodeGround;
  readonly cluster: () => ClusterObjects;
  readonly controlPlane: () => readonly string[];
  /** Ends the agent: after an uninstall nothing may set the node up again. */
  readonly shutdown: () => void;
}

export interface Watching {
  /** To be told of every call of the CNI plugin. */
  observeCall(command: string, code: number, seconds: number): void;
  /** To be told of every round. */
  observeRound(round: Round): void;
  /** To be told once pods can be added: `/readyz` says so. */
  serving(): void;
  close(): Promise<void>;
}

/** Everything by which people see what the pod network does: drops, the admin socket, metrics. */
export async function startWatching(input: WatchingInput): Promise<Watching> {
  const { options, clock, log, programs, localPods, cluster } = input;
  const drops = new DropLog({ node: options.node, clock, bootTimeNs });
  const metrics = new AgentMetrics();
  const observeRound = ({ nodes, policy, services, seconds, changes }: Round) => {
    metrics.observeRound(seconds, changes);
    drops.know({
      localPods: localPods.standing(),
      pods: cluster().pods,
      nodes,
      services,
      policy,
      controlPlane: input.controlPlane(),
    });
  };
  const first = input.pipeline.last();
  if (first !== undefined) observeRound(first);
  const counters = programs.map('counter_map');
  const reader = readDrops({ ring: programs.map('drop_ring'), counters, drops, clock, log });
  const startedAt = new Date(clock.wallMs()).toISOString();
  const view = viewOf(input, drops, startedAt);
  let serving = false;
  const unready = () => (serving ? view.condition().reason : "pods can't be added yet");
  const ends: (() => void | Promise<void>)[] = [() => reader.close(), () => drops.close()];
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const admin = await startAdmin({
      socket: options.adminSocket,
      view,
      clock,
      log,
      shutdown: input.shutdown,
    });
    ends.push(() => admin.close());
    if (options.metrics !== undefined)
      ends.push(await serveMetrics(options.metrics, () => metrics.render(view, counters), unready));
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return {
    observeCall: (command, code, seconds) => metrics.observeCall(command, code, seconds),
    observeRound,
    serving: () => {
      serving = true;
    },
    close,
  };
}

function viewOf(input: WatchingInput, drops: DropLog, startedAt: string): AgentView {
  const { options, pipeline, localPods, sidecars, maps, cluster, ground } = input;
  const last = (): Round => {
    const round = pipeline.last();
    if (round === undefined) throw new HeddleError('not-ready', 'the node is not set up yet: ask again soon');
    return round;
  };
  const version = ownVersion();
  return {
    condition: () => conditionOf({ ...input, version, startedAt }),
    localPods: () => localPods.all(),
    nodes: () => last().nodes,
    pods: () => cluster().pods,
    controlPlane: input.controlPlane,
    policy: () => last().policy,
    services: () => last().services,
    plan: () => pipeline.last()?.plan,
    sidecars: () => sidecars.confirmed(),
    drops,
    readMap: (map) => maps.map(map).entries(),
    repair: () => input.repair.now(),
    uninstall: async () => {
      input.settling.close();
      await input.repair.close();
      await pipeline.close();
      return uninstallNode({ options, ground, localPods: localPods.all() });
    },
  };
}

/**
 * For Prometheus `/metrics`; `/healthz` while the process lives; `/readyz` once pods can be added and the last round went well, else
 * 503 and `unready`. Resolves with how it ends.
 */
async function serveMetrics(at: string, text: () => string, unready: () => string): Promise<() => void> {
  const [, host = '', port = ''] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(at) ?? [];
  const server = createServer((request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405).end();
    else if (request.url === '/metrics')
      response.setHeader('content-type', 'text/plain; version=0.0.4').end(text());
    else if (request.url === '/healthz') response.end('ok\n');
    else if (request.url === '/readyz') {
      const reason = unready();
      response.writeHead(reason === '' ? 200 : 503).end(`${reason === '' ? 'ok' : reason}\n`);
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (thrown) =>
      reject(new HeddleError('listen', `metrics at ${at}: ${messageOf(thrown)}`, { cause: thrown })),
    );
    server.once('listening', resolve);
    server.listen({ host, port: Number(port) });
  });
  return () => {
    server.close();
    server.closeAllConnections();
  };
}
