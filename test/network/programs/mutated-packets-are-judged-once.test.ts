import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { PROTOCOL, SCOPE } from '../../../cni/maps/constants.ts';
import { dropReason } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes, addressText, anyAddress } from '../../../common/address.ts';
import { seededRandom } from '../../../common/random.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { HOSTS, type Outcome, VERDICT } from '../packets/datapath.ts';
import { reset, World } from './entrances.ts';
import { Mutants } from './mutants.ts';
import { VNI } from './overlay.ts';

leakCheck();

/** HEDDLE_SEED draws others. */
const seed = Number(process.env.HEDDLE_SEED ?? 1);
const packetsPerProgram = 4_000;
const SET = 91;
const ETHERTYPE_AT = 12;
const [IPV4, IPV6, ARP] = [0x0800, 0x86dd, 0x0806];
const VERDICTS: readonly number[] = Object.values(VERDICT);

let world: World;
before(() => {
  world = new World();
});
after(() => world[Symbol.dispose]());
beforeEach(() => {
  reset(world);
  publish();
});

/** So that packets meet Services as well. */
function publish(): void {
  for (const family of [4, 6] as const)
    for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP]) {
      const id = family * 1000 + protocol;
      const backend = { address: addressBytes(HOSTS.b[family]), port: 8080 };
      world.path.set(TABLES.backend, { serviceId: id, slot: 0 }, backend);
      const frontend = { address: anyAddress(family), port: 30_080, protocol, scope: SCOPE.EXTERNAL };
      world.path.set(TABLES.service, frontend, { id, count: 1, flags: 0, affinityS: 0 });
      const empty = { ...frontend, address: addressBytes(HOSTS.client[family]) };
      world.path.set(TABLES.service, empty, { id: 0, count: 0, flags: 0, affinityS: 0 });
    }
}

const theOtherNode = { from: HOSTS.otherNode[4], vni: VNI.PODS };
const PROGRAMS = {
  from_pod: (bytes: Buffer) => world.fromPod('a', bytes),
  to_pod: (bytes: Buffer) => world.toPod(bytes),
  from_overlay: (bytes: Buffer) => world.overlay.run('from_overlay', bytes, theOtherNode),
  'from_overlay, VNI 2': (bytes: Buffer) =>
    world.overlay.run('from_overlay', bytes, { ...theOtherNode, vni: VNI.EXTERNAL }),
  to_overlay: (bytes: Buffer) => world.path.run('to_overlay', bytes),
  from_uplink: (bytes: Buffer) => world.fromUplink(bytes),
  /** Here those are answered as well that nobody serves. */
  'from_uplink, for this host': (bytes: Buffer) =>
    world.fromUplink(Buffer.concat([Buffer.alloc(6), bytes.subarray(6)])),
} as const;
type Name = keyof typeof PROGRAMS;
const NAMES = Object.keys(PROGRAMS) as Name[];

function kindOf(bytes: Buffer): number {
  return bytes.readUInt16BE(ETHERTYPE_AT);
}

/** Source and destination of an IP packet that was long enough for a test run. */
function ends(bytes: Buffer): { readonly from: string; readonly to: string } {
  const four = kindOf(bytes) === IPV4;
  const [at, length] = four ? [26, 4] : [22, 16];
  const text = (start: number) => {
    const raw = bytes.subarray(start, start + length);
    return addressText(four ? Buffer.concat([anyAddress(4).subarray(0, 12), raw]) : raw);
  };
  return { from: text(at), to: text(at + length) };
}

const isIp = (bytes: Buffer) => kindOf(bytes) === IPV4 || kindOf(bytes) === IPV6;
/** What neighbours say to each other goes no further than the veth's other end. */
const isNearby = (address: string) => /^(fe[89ab]|ff)/.test(address);
const own = (host: { readonly 4: string; readonly 6: string }, address: string) =>
  address === host[4] || address === host[6];

/** IPv6 to neighbours alone: the pod's link has no others than its node. */
const isForNeighbours = (bytes: Buffer) => kindOf(bytes) === IPV6 && isNearby(ends(bytes).to);

/** Drops that nobody is told of: a question for a neighbour that has no answer, what isn't IP on its way to another node, or is for neighbours there. */
function maySilentlyDrop(name: Name, bytes: Buffer): boolean {
  if (name === 'to_overlay') return !isIp(bytes) || isNearby(ends(bytes).to);
  return name === 'from_pod' && (kindOf(bytes) === ARP || isForNeighbours(bytes));
}

/** In which direction a packet that passes is counted; undefined: it may be the host's own affair. */
function wayOfPassed(name: Name, bytes: Buffer, verdict: number): string | undefined {
  if (name === 'from_pod') return isIp(bytes) && !isForNeighbours(bytes) ? 'egress' : undefined;
  if (name === 'to_overlay') return verdict === VERDICT.OK ? 'egress' : undefined;
  if (name === 'from_overlay' || name === 'from_overlay, VNI 2') return 'ingress';
  if (name === 'from_uplink' || name === 'from_uplink, for this host')
    return verdict === VERDICT.REDIRECT ? 'ingress' : undefined;
  const { from, to } = isIp(bytes) ? ends(bytes) : { from: '', to: '' };
  return (own(HOSTS.a, to) || own(HOSTS.b, to)) && !isNearby(from) ? 'ingress' : undefined;
}

/** The rule of drop.h: one outcome for each direction that is judged, and each drop is told. */
function assertCounted(name: Name, bytes: Buffer, { verdict, drops, counted }: Outcome): void {
  assert.ok(VERDICTS.includes(verdict), `verdict ${verdict}`);
  const told = drops.map(
    (one) => `${dropReason(one.reason).name} ${one.direction === 0 ? 'ingress' : 'egress'}`,
  );
  assert.deepEqual(
    counted.filter((what) => !what.startsWith('forwarded')),
    told,
  );
  for (const way of ['ingress', 'egress'])
    assert.ok(counted.filter((what) => what.endsWith(way)).length <= 1, `counted twice: ${counted}`);
  assert.ok(told.length <= 1);
  if (verdict === VERDICT.DROP && !maySilentlyDrop(name, bytes)) assert.equal(told.length, 1);
  const way = verdict === VERDICT.DROP ? undefined : wayOfPassed(name, bytes, verdict);
  if (way !== undefined && told.length === 0)
    assert.ok(counted.includes(`forwarded ${way}`), `not counted ${way}: ${counted}`);
  // Where a Service has no backend the node refuses, and what is too big for the tunnel becomes an answer that says so.
  if (verdict !== VERDICT.DROP)
    assert.deepEqual(
      told.filter((what) => !/^(no-backend|too-big)/.test(what)),
      [],
    );
}

function each(name: Name, judge: (bytes: Buffer, done: Outcome) => void): Map<number, number> {
  const mutants = new Mutants(seededRandom(seed));
  const verdicts = new Map<number, number>();
  for (let n = 0; n < packetsPerProgram; n++) {
    const bytes = mutants.next();
    try {
      const done = PROGRAMS[name](bytes);
      judge(bytes, done);
      verdicts.set(done.verdict, (verdicts.get(done.verdict) ?? 0) + 1);
    } catch (thrown) {
      throw new Error(`seed ${seed}, packet ${n}: ${bytes.toString('hex')}`, { cause: thrown });
    }
  }
  return verdicts;
}

describe('of thousands of packets, most of them broken', () => {
  for (const name of NAMES)
    it(`${name} judges each once, and tells what it drops`, () => {
      const verdicts = each(name, (bytes, done) => assertCounted(name, bytes, done));
      assert.ok(verdicts.size >= 2, 'some pass and some do not');
    });

  it('from_pod lets none pass with a source that the pod does not have', () => {
    each('from_pod', (bytes, { verdict }) => {
      if (verdict === VERDICT.DROP || !isIp(bytes)) return;
      const { from, to } = ends(bytes);
      assert.ok(
        own(HOSTS.a, from) || (isNearby(to) && (from === '::' || isNearby(from))),
        `from ${from} to ${to}`,
      );
    });
  });

  it('none reaches a pod whose policy allows nothing, but from its own node', () => {
    world.path.isolate('b', { ingressSet: SET });
    for (const name of ['from_pod', 'to_pod', 'from_overlay', 'from_overlay, VNI 2', 'from_uplink'] as const)
      each(name, (bytes, { verdict }) => {
        if (verdict !== VERDICT.OK && verdict !== VERDICT.REDIRECT) return;
        const { from, to } = ends(bytes);
        assert.ok(
          !isIp(bytes) || !own(HOSTS.b, to) || own(HOSTS.node, from) || isNearby(from),
          `${name}: ${from}`,
        );
      });
  });

  it('none leaves a pod whose policy allows nothing, but to its own node', () => {
    world.path.isolate('a', { egressSet: SET });
    each('from_pod', (bytes, { verdict }) => {
      if (verdict === VERDICT.DROP || !isIp(bytes)) return;
      const { to } = ends(bytes);
      assert.ok(own(HOSTS.node, to) || isNearby(to), `to ${to}`);
    });
  });
});
