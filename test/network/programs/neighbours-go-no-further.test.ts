import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { addressBytes } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, datagram, ethernet, icmp } from '../packets/craft.ts';
import { HOSTS, type Outcome, VERDICT } from '../packets/datapath.ts';
import { reset, World } from './entrances.ts';

leakCheck();
let world: World;
before(() => {
  world = new World();
  reset(world);
  for (const pod of ['a', 'b'] as const) world.path.isolate(pod, { ingressSet: 95, egressSet: 95 });
});
after(() => world[Symbol.dispose]());

const ARP = 0x0806;
const POD_MAC = '020000000001';
const HOST_MAC = 'eeeeeeeeeeee';
const GATEWAY4 = '169.254.1.1';
const GATEWAY6 = 'fe80::1';
const LINK_LOCAL = 'fe80::5';
const ALL_NODES = 'ff02::1';
const ND = {
  ROUTER_ASKED: 133,
  ROUTER: 134,
  ASKED: 135,
  ANSWERED: 136,
  REDIRECT: 137,
  LISTENERS: 143,
} as const;
const [ARP_REQUEST, ARP_REPLY] = [1, 2];
const passed = [VERDICT.OK, []] as const;
const spoofed = [VERDICT.DROP, [DROP.SPOOFED.code]] as const;
const refused = [VERDICT.DROP, [DROP.POLICY.code]] as const;
const unanswered = [VERDICT.DROP, []] as const;

function arp(operation: number, sender: string, target: string): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]);
  const ip4 = (text: string) => addressBytes(text).subarray(12);
  return Buffer.concat([head, Buffer.from(POD_MAC, 'hex'), ip4(sender), Buffer.alloc(6), ip4(target)]);
}

/** A message among neighbours, about `target` where it has one. */
function message(type: number, from: string, to: string, target = '::'): Crafted {
  const head = Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]);
  return icmp(from, to, Buffer.concat([head, addressBytes(target)]));
}

function outcome({ verdict, drops }: Outcome): readonly [number, readonly number[]] {
  return [verdict, drops.map((one) => one.reason)];
}

describe('from_pod: who asks for the gateway is answered, whatever policy says', () => {
  it('by ARP', () => {
    const done = world.fromPod('a', ethernet(arp(ARP_REQUEST, HOSTS.a[4], GATEWAY4), ARP));
    assert.deepEqual([done.verdict, done.counted], [VERDICT.REDIRECT, []]);
    const told = Buffer.concat([
      ...[Buffer.from(`${POD_MAC}${HOST_MAC}0806`, 'hex'), Buffer.from([0, 1, 8, 0, 6, 4, 0, ARP_REPLY])],
      ...[Buffer.from(HOST_MAC, 'hex'), addressBytes(GATEWAY4).subarray(12)],
      ...[Buffer.from(POD_MAC, 'hex'), addressBytes(HOSTS.a[4]).subarray(12)],
    ]);
    assert.equal(done.bytes.toString('hex'), told.toString('hex'));
  });

  it('by neighbour discovery, with a sum that is right', () => {
    for (const from of [HOSTS.a[6], LINK_LOCAL]) {
      const done = world.fromPod('a', message(ND.ASKED, from, 'ff02::1:ff00:1', GATEWAY6));
      assert.deepEqual([done.verdict, done.counted], [VERDICT.REDIRECT, []]);
      const said = Buffer.concat([
        ...[Buffer.from([ND.ANSWERED, 0, 0, 0, 0x60, 0, 0, 0]), addressBytes(GATEWAY6)],
        ...[Buffer.from([2, 1]), Buffer.from(HOST_MAC, 'hex')],
      ]);
      const wanted = datagram(icmp(GATEWAY6, from, said));
      wanted.writeUInt8(255, 7); // hops, RFC 4861 section 4.4
      assert.equal(done.bytes.toString('hex', 14), wanted.toString('hex'));
    }
  });
});

describe('what neighbours say to each other', () => {
  const cases: readonly (readonly [string, Crafted | Buffer, readonly [number, readonly number[]]])[] = [
    ['ARP for anybody else', ethernet(arp(ARP_REQUEST, HOSTS.a[4], HOSTS.b[4]), ARP), unanswered],
    ["ARP in another's name", ethernet(arp(ARP_REQUEST, HOSTS.b[4], GATEWAY4), ARP), unanswered],
    ['an ARP answer', ethernet(arp(ARP_REPLY, HOSTS.a[4], GATEWAY4), ARP), passed],
    ["an ARP answer in another's name", ethernet(arp(ARP_REPLY, HOSTS.b[4], GATEWAY4), ARP), unanswered],
    [
      'cut ARP',
      ethernet(Buffer.concat([arp(ARP_REQUEST, HOSTS.a[4], GATEWAY4).subarray(0, 20)]), ARP),
      unanswered,
    ],
    ['a probe for its own address', message(ND.ASKED, '::', 'ff02::1:ff00:11', HOSTS.a[6]), passed],
    ['a question for a router', message(ND.ROUTER_ASKED, LINK_LOCAL, 'ff02::2'), passed],
    ['a report of listeners', message(ND.LISTENERS, '::', 'ff02::16'), passed],
    ['an answer for its own address', message(ND.ANSWERED, HOSTS.a[6], ALL_NODES, HOSTS.a[6]), passed],
    ['an answer for another address', message(ND.ANSWERED, HOSTS.a[6], ALL_NODES, HOSTS.b[6]), spoofed],
    ["a message from another's address", message(ND.LISTENERS, HOSTS.b[6], 'ff02::16'), spoofed],
    ['a router’s advertisement', message(ND.ROUTER, LINK_LOCAL, ALL_NODES), spoofed],
    ['a redirect', message(ND.REDIRECT, LINK_LOCAL, ALL_NODES), spoofed],
    ['a message to another pod', message(ND.LISTENERS, HOSTS.a[6], HOSTS.b[6]), refused],
    ['a message to a pod elsewhere', message(ND.ROUTER_ASKED, HOSTS.a[6], HOSTS.remote[6]), refused],
    ['a message to the world', message(ND.ANSWERED, HOSTS.a[6], HOSTS.client[6], HOSTS.a[6]), refused],
    ['a message to another pod from nobody', message(ND.ASKED, '::', HOSTS.b[6]), spoofed],
    ['a message to its own node', message(ND.ANSWERED, HOSTS.a[6], HOSTS.node[6], HOSTS.a[6]), passed],
  ];
  for (const [name, packet, wanted] of cases)
    it(`from_pod: ${name}`, () => assert.deepEqual(outcome(world.fromPod('a', packet)), wanted));

  const arriving: readonly (readonly [string, Crafted, readonly [number, readonly number[]]])[] = [
    ['a question of the node', message(ND.ASKED, HOSTS.node[6], 'ff02::1:ff00:12', HOSTS.b[6]), passed],
    ['a question from its link-local address', message(ND.ASKED, GATEWAY6, HOSTS.b[6], HOSTS.b[6]), passed],
    ['a message of another pod', message(ND.LISTENERS, HOSTS.a[6], HOSTS.b[6]), refused],
    ['a message of the world', message(ND.ROUTER, HOSTS.client[6], HOSTS.b[6]), refused],
  ];
  for (const [name, packet, wanted] of arriving)
    it(`to_pod: ${name}`, () => assert.deepEqual(outcome(world.toPod(packet)), wanted));

  it('is ICMPv6 over IPv6 only', () => {
    const other = { ...message(ND.LISTENERS, HOSTS.a[6], HOSTS.b[6]), from: HOSTS.a[4], to: HOSTS.b[4] };
    assert.equal(other.protocol, PROTOCOL.ICMPV6);
    assert.deepEqual(outcome(world.fromPod('a', other)), refused);
  });
});
