import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, describe, it, test } from 'node:test';
import {
  addPodLink,
  hostIfnameOf,
  type PodLink,
  type PodLinkFound,
  podLinkProblems,
  removePodLink,
} from '../../../cni/setup/pod.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { runIn } from '../../support/network/commands.ts';
import { assertBecomes, Namespaces, type Picture, pictureOf, settled } from './namespaces.ts';

leakCheck();
const filesBefore = readdirSync('/proc/self/fd').length;
after(() => assert.equal(readdirSync('/proc/self/fd').length, filesBefore));

const IP4 = '10.244.1.5';
const IP6 = 'fd10:244:0:1::5';
const NODE4 = '192.168.9.1';
const NODE6 = 'fd09::1';
const PODS = 200;
const setUpMsMax = 10;

function linkIn(netns: string, nodeNetns: string, change: Partial<PodLink> = {}): PodLink {
  const hostIfname = hostIfnameOf(netns, 'eth0');
  const base = { netns, nodeNetns, ifname: 'eth0', hostIfname, ips: [IP4, IP6], mtu: 1450 };
  return { ...base, nodeAddresses: [NODE4, NODE6], ...change };
}

function nodeIn(namespaces: Namespaces): string {
  const node = namespaces.make('node');
  runIn(node, 'ip', 'addr', 'add', `${NODE4}/32`, 'dev', 'lo');
  runIn(node, 'ip', 'addr', 'add', `${NODE6}/128`, 'dev', 'lo');
  return node;
}

describe('a link between a pod and its node', () => {
  const namespaces = new Namespaces();
  let [node, pod] = ['', ''];
  let link: PodLink;
  let found: PodLinkFound;
  let empty: { readonly node: Picture; readonly pod: Picture };
  let whole: { readonly node: Picture; readonly pod: Picture };

  before(async () => {
    node = nodeIn(namespaces);
    pod = namespaces.make('pod');
    link = linkIn(pod, node);
    empty = { node: await settled(node), pod: await settled(pod) };
    found = addPodLink(link);
    whole = { node: await settled(node), pod: await settled(pod) };
  });
  after(() => namespaces.close());

  it('has the addresses of both ends, and nothing is wrong with it', () => {
    assert.deepEqual(podLinkProblems(link), []);
    assert.match(found.podMac, /^02(:[0-9a-f]{2}){5}$/);
    assert.ok(runIn(pod, 'ip', 'link', 'show', 'eth0').includes(`link/ether ${found.podMac}`));
    const host = runIn(node, 'ip', '-o', 'link', 'show', link.hostIfname);
    assert.ok(host.startsWith(`${found.hostIfindex}: `) && host.includes(found.hostMac), host);
  });

  for (const [family, own, other] of [
    ['IPv4', IP4, NODE4],
    ['IPv6', IP6, NODE6],
  ] as const)
    it(`carries packets both ways, the node's from its own address: ${family}`, () => {
      runIn(pod, 'ping', '-c', '1', '-W', '2', other);
      runIn(node, 'ping', '-c', '1', '-W', '2', own);
      assert.match(runIn(node, 'ip', 'route', 'get', own), new RegExp(`src ${other} `));
    });

  it('is the same after a second call', async () => {
    assert.deepEqual(addPodLink(link), found);
    await assertBecomes(node, whole.node);
    await assertBecomes(pod, whole.pod);
  });

  const host = hostIfnameOf(`/run/netns/hdlt-s${process.pid}-pod`, 'eth0');
  const damages: readonly (readonly [
    what: string,
    inside: 'pod' | 'node',
    words: string,
    sentence: RegExp,
  ])[] = [
    ['lo is down', 'pod', 'ip link set lo down', /lo is down/],
    ['the pod end is down', 'pod', 'ip link set eth0 down', /eth0 is down/],
    ['the node end is down', 'node', `ip link set ${host} down`, new RegExp(`${host} is down`)],
    ['the pod MTU differs', 'pod', 'ip link set eth0 mtu 1400', /MTU of eth0 is 1400 instead of 1450/],
    ['the node MTU differs', 'node', `ip link set ${host} mtu 1400`, /is 1400 instead of 1450/],
    ['the node MAC differs', 'node', `ip link set ${host} address 02:00:00:00:00:01`, /instead of ee:ee/],
    ['the IPv4 address is gone', 'pod', `ip addr del ${IP4}/32 dev eth0`, /lacks the address 10\.244\.1\.5/],
    ['the IPv6 address is gone', 'pod', `ip addr del ${IP6}/128 dev eth0`, /lacks the address fd10/],
    [
      'the gateway route is gone',
      'pod',
      'ip route flush 169.254.1.1',
      /route to 169\.254\.1\.1\/32 dev eth0/,
    ],
    ['the IPv4 default is gone', 'pod', 'ip route del default', /route to 0\.0\.0\.0\/0 via 169\.254\.1\.1/],
    ['the IPv6 default is gone', 'pod', 'ip -6 route del default', /route to ::\/0 via fe80::1/],
    ['the IPv4 gateway is unknown', 'pod', 'ip neigh del 169.254.1.1 dev eth0', /neighbour 169\.254\.1\.1/],
    ['the IPv6 gateway is unknown', 'pod', 'ip neigh del fe80::1 dev eth0', /neighbour fe80::1/],
    ['the IPv4 route to it is gone', 'node', `ip route del ${IP4}`, /route to 10\.244\.1\.5\/32 dev/],
    ['the IPv6 route to it is gone', 'node', `ip -6 route del ${IP6}`, /route to fd10:244:0:1::5\/128 dev/],
    ['its IPv4 MAC is unknown', 'node', `ip neigh del ${IP4} dev ${host}`, /neighbour 10\.244\.1\.5/],
    ['its IPv6 MAC is unknown', 'node', `ip neigh del ${IP6} dev ${host}`, /neighbour fd10/],
    ['packets are filtered', 'node', `sysctl -qw net.ipv4.conf.${host}.rp_filter=1`, /rp_filter is 1/],
    ['IPv4 stops', 'node', `sysctl -qw net.ipv4.conf.${host}.forwarding=0`, /forwarding is 0/],
    ['IPv6 stops', 'node', `sysctl -qw net.ipv6.conf.${host}.forwarding=0`, /forwarding is 0/],
    ['routers are listened to', 'pod', 'sysctl -qw net.ipv6.conf.eth0.accept_ra=1', /accept_ra is 1/],
    ['duplicates are looked for', 'pod', 'sysctl -qw net.ipv6.conf.eth0.accept_dad=1', /accept_dad is 1/],
    ['IPv6 is off', 'pod', 'sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1', /disable_ipv6 is 1/],
  ];
  for (const [what, inside, words, sentence] of damages)
    it(`is found out and mended: ${what}`, async () => {
      const [command = '', ...rest] = words.split(' ');
      runIn(inside === 'pod' ? pod : node, command, ...rest);
      assert.match(podLinkProblems(link).join('\n'), sentence);
      assert.equal(addPodLink(link).podMac, found.podMac);
      assert.deepEqual(podLinkProblems(link), []);
      await assertBecomes(node, whole.node);
      await assertBecomes(pod, whole.pod);
    });

  it('leaves both sides as they were', async () => {
    removePodLink(node, link.hostIfname);
    removePodLink(node, link.hostIfname);
    await assertBecomes(node, empty.node);
    // The switches for `lo` were on already.
    await assertBecomes(pod, empty.pod);
    assert.match(podLinkProblems(link).join(), /aren't there/);
  });

  it('is undone whole when it fails halfway', async () => {
    const strange = { ...link, nodeAddresses: ['192.0.2.77'] };
    runIn(pod, 'ip', 'link', 'set', 'lo', 'down');
    const before = { node: await settled(node), pod: await settled(pod) };
    assert.throws(() => addPodLink(strange), { code: 'EINVAL', message: /10\.244\.1\.5\/32.*prefsrc/i });
    await assertBecomes(node, before.node);
    await assertBecomes(pod, before.pod);
  });
});

describe('a pod link, where something is in its way', () => {
  const namespaces = new Namespaces();
  let node = '';
  before(() => {
    node = nodeIn(namespaces);
  });
  after(() => namespaces.close());

  for (const [family, ips] of [
    ['IPv4', [IP4]],
    ['IPv6', [IP6]],
  ] as const)
    it(`has one family where the pod has one: ${family}`, () => {
      const pod = namespaces.make(family);
      const link = linkIn(pod, node, { ips });
      addPodLink(link);
      assert.deepEqual(podLinkProblems(link), []);
      const other = family === 'IPv4' ? '-6' : '-4';
      assert.doesNotMatch(runIn(pod, 'ip', other, 'route'), /default/);
      removePodLink(node, link.hostIfname);
    });

  it('switches IPv6 on in a pod whose runtime had switched it off', () => {
    const pod = namespaces.make('off');
    runIn(pod, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
    const link = linkIn(pod, node);
    addPodLink(link);
    assert.deepEqual(podLinkProblems(link), []);
    runIn(pod, 'ping', '-c', '1', '-W', '2', NODE6);
    removePodLink(node, link.hostIfname);
  });

  it("refuses to take another device's name in the pod, and leaves that alone", async () => {
    const pod = namespaces.make('taken');
    runIn(pod, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
    const before = { node: await settled(node), pod: await settled(pod) };
    assert.throws(() => addPodLink(linkIn(pod, node)), { code: 'pod-interface-taken', message: /remove it/ });
    await assertBecomes(node, before.node);
    await assertBecomes(pod, before.pod);
  });

  it("takes the place of what is left of the attachment's own name on the node", () => {
    const pod = namespaces.make('rest');
    const link = linkIn(pod, node);
    runIn(node, 'ip', 'link', 'add', link.hostIfname, 'type', 'veth', 'peer', 'name', 'rest');
    assert.match(podLinkProblems(link).join(), /aren't one veth pair/);
    addPodLink(link);
    assert.deepEqual(podLinkProblems(link), []);
    removePodLink(node, link.hostIfname);
  });

  it('is missed where the namespace is gone', () => {
    const pod = namespaces.make('gone');
    const link = linkIn(pod, node);
    addPodLink(link);
    namespaces.remove(pod);
    assert.match(podLinkProblems(link).join(), /is gone/);
    assert.throws(() => addPodLink(link), { code: 'ENOENT' });
    removePodLink('/run/netns/hdlt-never', link.hostIfname);
  });
});

test(`a pod's set-up takes at most ${setUpMsMax} ms`, (context) => {
  const namespaces = new Namespaces();
  try {
    const node = nodeIn(namespaces);
    const tookMs: number[] = [];
    const removedMs: number[] = [];
    const links = Array.from({ length: PODS }, (_, index) => {
      const ips = [`10.244.2.${index + 2}`, `fd10:244:0:2::${(index + 2).toString(16)}`];
      return linkIn(namespaces.make(`m${index}`), node, { ips });
    });
    for (const link of links) tookMs.push(timed(() => addPodLink(link)));
    assert.deepEqual(
      links.flatMap((link) => podLinkProblems(link)),
      [],
    );
    const before = pictureOf(node).neighbours as readonly unknown[];
    assert.equal(before.length, PODS * 2);
    for (const link of links) removedMs.push(timed(() => removePodLink(node, link.hostIfname)));
    context.diagnostic(`${PODS} pods, ms a pod: set up ${spread(tookMs)}; removed ${spread(removedMs)}`);
    assert.ok(quantile(tookMs, 0.5) <= setUpMsMax);
  } finally {
    namespaces.close();
  }
});

function timed(task: () => void): number {
  const startedMs = performance.now();
  task();
  return performance.now() - startedMs;
}

function quantile(values: readonly number[], part: number): number {
  return values.toSorted((one, other) => one - other)[Math.ceil(values.length * part) - 1] ?? 0;
}

function spread(values: readonly number[]): string {
  return [0.5, 0.9, 0.99, 1].map((part) => `p${part * 100} ${quantile(values, part).toFixed(2)}`).join(', ');
}
