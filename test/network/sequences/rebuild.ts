import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { clusterObjects } from '../../../cni/agent/cluster.ts';
import { LocalPods } from '../../../cni/agent/local-pods.ts';
import { Pipeline, type Round } from '../../../cni/agent/pipeline.ts';
import type { NodeFacts } from '../../../cni/agent/wanted.ts';
import { netnsCookie } from '../../../cni/kernel/netns.ts';
import { FILL_ORDER, type PlannedMap } from '../../../cni/maps/reconcile.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import type { PolicyNumbers } from '../../../cni/policy/plan.ts';
import { systemClock } from '../../../common/clock.ts';
import { silentLogger } from '../../../common/log.ts';
import { watchFiles } from '../../../sources/files/watch.ts';
import { MemoryMap } from '../../support/memory-map.ts';
import type { TestNode } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import type { Held } from './meaning.ts';

const DNS_ADDRESSES = ['10.96.0.10', 'fd10:96::a'];

/** What a node's maps are to hold, worked out from its objects and pods alone, as if nothing had been before. */
export async function rebuilt(node: TestNode, manifests: string): Promise<Held> {
  const maps = Object.fromEntries(
    FILL_ORDER.map((name) => [name, new MemoryMap(TABLES[name].name)]),
  ) as Record<PlannedMap, MemoryMap>;
  const source = await watchFiles({
    ...{ directories: [manifests], clock: systemClock, log: silentLogger, onChange: () => undefined },
  });
  source.close();
  const objects = clusterObjects(source.current().objects);
  const localPods = new LocalPods(join(node.state, 'pods'), silentLogger).all();
  let last: Round | undefined;
  const pipeline = new Pipeline({
    maps: { stores: maps },
    numbers: { policy: undefined, services: { numbers: { ids: new Map(), next: 1 } } },
    facts: () => factsOf(node),
    ...{ cluster: () => objects, localPods: () => localPods, sidecars: () => new Map() },
    ...{ keepNumbers: () => undefined, clock: systemClock, log: silentLogger },
    onRound: (round) => {
      last = round;
    },
  });
  await pipeline.settled();
  await pipeline.close();
  if (last === undefined) throw new Error('no round was done');
  return { entries: (map) => maps[map].entries(), numbers: last.policy.numbers };
}

/** The names of the numbers that the agent of a node gave. */
export function numbersOf({ state }: TestNode): PolicyNumbers {
  return JSON.parse(readFileSync(join(state, 'numbers.json'), 'utf8')) as PolicyNumbers;
}

interface LinkRow {
  readonly ifindex: number;
  readonly address: string;
  readonly mtu: number;
}

function factsOf({ name, netns, ip4, ip6 }: TestNode): NodeFacts {
  const link = (device: string): LinkRow => {
    const [row] = JSON.parse(runIn(netns, 'ip', '-j', 'link', 'show', device)) as LinkRow[];
    if (row === undefined) throw new Error(`${name} has no ${device}`);
    return row;
  };
  const [tunnel, uplink] = [link('heddle_vxlan'), link('eth0')];
  return {
    ...{ name, mode: 'tunnel', netnsCookie: netnsCookie(netns), tunnelMtu: tunnel.mtu },
    ...{ tunnelIfindex: tunnel.ifindex, uplinkIfindex: uplink.ifindex, uplinkMac: uplink.address },
    dnsAddresses: DNS_ADDRESSES.filter((one) => [ip4, ip6].some((own) => isIP(own) === isIP(one))),
    controlPlane: [],
  };
}
