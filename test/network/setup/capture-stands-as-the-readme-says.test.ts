import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { addPodLink, hostIfnameOf, podLinkProblems } from '../../../cni/setup/pod.ts';
import {
  addCapture,
  captureProblems,
  localRouteWaitMsMax,
  removeCapture,
} from '../../../cni/setup/pod-capture.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { runIn } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';
import { assertBecomes, connect, Namespaces, type Picture, pictureOf, settled } from './namespaces.ts';

leakCheck();
const filesBefore = readdirSync('/proc/self/fd').length;
after(() => assert.equal(readdirSync('/proc/self/fd').length, filesBefore));

const README = new URL('../../../cni/README.md', import.meta.url);
const IP4 = '10.244.1.5';
const IP6 = 'fd10:244:0:1::5';
const CASES = { both: [IP4, IP6], 'IPv4 alone': [IP4], 'IPv6 alone': [IP6] } as const;

/** What the README asks for, a command each: settings and calls of ip(8). */
function readmeCommands(ips: readonly string[]): readonly string[] {
  const section = readFileSync(README, 'utf8').split("## Capture: what a pod's namespace needs")[1] ?? '';
  const lines = (section.split('```')[1] ?? '').split('\n').map((line) => line.replace(/#.*/, '').trim());
  const has4 = ips.includes(IP4);
  const has6 = ips.includes(IP6);
  return lines
    .filter((line) => line !== '' && (/-6 |ipv6/.test(line) ? has6 : has4 || line.startsWith('net.ipv4')))
    .map((line) => line.replaceAll('IP4', IP4).replaceAll('IP6', IP6))
    .map((line) => (line.startsWith('ip ') ? line : `sysctl -qw ${line.replaceAll(' ', '')}`));
}

function podIn(namespaces: Namespaces, node: string, label: string, ips: readonly string[]): string {
  const netns = namespaces.make(label);
  addPodLink({
    netns,
    nodeNetns: node,
    ifname: 'eth0',
    hostIfname: hostIfnameOf(netns, 'eth0'),
    ips,
    mtu: 1450,
  });
  return netns;
}

/** The kernel makes an IPv6 address's local route in its own time. */
async function withLocalRoute(netns: string): Promise<void> {
  await eventually(() => runIn(netns, 'ip', '-6', 'route', 'show', 'table', 'local').includes(IP6), {
    ...{ deadlineMs: 2_000, what: 'the address has its local route' },
  });
}

/** Routes and rules without who made them, and the settings. */
function withoutMakers({ routes, rules, settings }: Picture): unknown {
  const strip = (_: string, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('protocol' in value)) return value;
    const { protocol: __, ...rest } = value;
    return rest;
  };
  // The devices' own link-local addresses are made of their MACs.
  const text = JSON.stringify({ routes, rules, settings }, strip).replace(
    /fe80::[0-9a-f:]+:[0-9a-f:]+/g,
    'fe80::X',
  );
  return JSON.parse(text);
}

describe("a captured pod's namespace", () => {
  const namespaces = new Namespaces();
  let node = '';
  before(() => {
    node = namespaces.make('node');
  });
  after(() => namespaces.close());

  for (const [index, [what, ips]] of Object.entries(CASES).entries())
    it(`is what the README's commands make: ${what}`, async () => {
      const pod = podIn(namespaces, node, `pod${index}`, ips);
      addCapture(pod, ips);
      assert.deepEqual(captureProblems(pod, ips), []);
      const reference = podIn(namespaces, node, `reference${index}`, ips);
      if (ips.some((one) => one === IP6)) await withLocalRoute(reference);
      const commands = readmeCommands(ips);
      assert.ok(commands.length >= 8, commands.join('\n'));
      for (const command of commands) {
        const [program = '', ...words] = command.split(' ');
        runIn(reference, program, ...words);
      }
      assert.deepEqual(withoutMakers(await settled(pod)), withoutMakers(await settled(reference)));
      assert.deepEqual(captureProblems(reference, ips), []);
    });
});

describe('capture', () => {
  const namespaces = new Namespaces();
  const ips = [IP4, IP6];
  let [node, pod] = ['', ''];
  let plain: Picture;
  let captured: Picture;
  before(async () => {
    node = namespaces.make('node');
    pod = podIn(namespaces, node, 'pod', ips);
    await withLocalRoute(pod);
    plain = await settled(pod);
    addCapture(pod, ips);
    captured = await settled(pod);
  });
  after(() => namespaces.close());

  it('is the same after a second call, and no fault of the link', async () => {
    addCapture(pod, ips);
    await assertBecomes(pod, captured);
    assert.deepEqual(captureProblems(pod, ips), []);
    const link = { netns: pod, nodeNetns: node, ifname: 'eth0', ips, mtu: 1450 };
    assert.deepEqual(podLinkProblems({ ...link, hostIfname: hostIfnameOf(pod, 'eth0') }), []);
  });

  const damages: readonly (readonly [command: string, sentence: RegExp])[] = [
    ['sysctl -qw net.ipv4.tcp_fwmark_accept=0', /tcp_fwmark_accept is 0 instead of 1/],
    ['sysctl -qw net.ipv4.fwmark_reflect=0', /ipv4\/fwmark_reflect is 0 instead of 1/],
    ['sysctl -qw net.ipv6.fwmark_reflect=0', /ipv6\/fwmark_reflect is 0 instead of 1/],
    ['sysctl -qw net.ipv6.ip_nonlocal_bind=0', /ip_nonlocal_bind is 0 instead of 1/],
    [`ip route del local ${IP4} table 101`, /local route to 10\.244\.1\.5\/32 is missing in table 101/],
    ['ip route del local 127.0.0.0/8 table 101', /127\.0\.0\.0\/8 is missing in table 101/],
    ['ip route del local default table local', /0\.0\.0\.0\/0 is missing in table local/],
    ['ip rule del pref 1', /IPv4 rule of priority 1 is missing/],
    ['ip rule del pref 2', /IPv4 rule of priority 2 is missing/],
    ['ip rule add pref 0 lookup local', /IPv4 rule of priority 0 stands/],
    [`ip route add local ${IP4} dev eth0 table local`, /leads to 10\.244\.1\.5\/32 by eth0/],
    [`ip -6 route del local ${IP6} table 101`, /fd10:244:0:1::5\/128 is missing in table 101/],
    ['ip -6 route del local ::1 table 101', /::1\/128 is missing in table 101/],
    ['ip -6 route del local default table local', /::\/0 is missing in table local/],
    ['ip -6 rule del pref 1', /IPv6 rule of priority 1 is missing/],
    ['ip -6 rule del pref 2', /IPv6 rule of priority 2 is missing/],
    ['ip -6 rule del pref 3', /IPv6 rule of priority 3 is missing/],
    ['ip -6 rule del pref 4', /IPv6 rule of priority 4 is missing/],
    ['ip -6 rule add pref 0 lookup local', /IPv6 rule of priority 0 stands/],
    [`ip -6 route add local ${IP6} dev eth0 table local`, /leads to fd10:244:0:1::5\/128 by eth0/],
  ];
  for (const [command, sentence] of damages)
    it(`is found out and mended after: ${command}`, async () => {
      const [program = '', ...words] = command.split(' ');
      runIn(pod, program, ...words);
      assert.match(captureProblems(pod, ips).join('\n'), sentence);
      addCapture(pod, ips);
      assert.deepEqual(captureProblems(pod, ips), []);
      await assertBecomes(pod, captured);
    });

  it('goes without a trace, but for the metric of the IPv6 address', async () => {
    removeCapture(pod, ips);
    removeCapture(pod, ips);
    const wanted = JSON.parse(
      JSON.stringify(plain, (_, value) =>
        value?.type === 'local' && value.dst === IP6 ? { ...value, metric: 1024 } : value,
      ),
    ) as Picture;
    await assertBecomes(pod, wanted);
    runIn(pod, 'ping', '-c', '1', '-W', '2', IP4);
    runIn(pod, 'ping', '-c', '1', '-W', '2', IP6);
  });
});

describe('capture that cannot be', () => {
  const namespaces = new Namespaces();
  const ips = [IP4, IP6];
  after(() => namespaces.close());

  it('is refused where the device has another name, or lacks an address', async () => {
    const pod = namespaces.make('pod');
    const before = pictureOf(pod);
    assert.throws(() => addCapture(pod, ips), { code: 'capture-device', message: /no device eth0/ });
    assert.match(captureProblems(pod, ips).join(), /no device eth0/);
    await assertBecomes(pod, before);
    connect([pod, 'eth0'], [namespaces.make('other'), 'eth0']);
    runIn(pod, 'ip', 'addr', 'add', `${IP4}/24`, 'dev', 'eth0');
    const linked = await settled(pod);
    assert.throws(() => addCapture(pod, ips), {
      code: 'capture-address',
      message: new RegExp(`lacks ${IP6}`),
    });
    await assertBecomes(pod, linked);
    addCapture(pod, [IP4]);
    assert.deepEqual(captureProblems(pod, [IP4]), []);
    removeCapture(pod, [IP4]);
    await assertBecomes(pod, linked);
  });

  it(`is undone where the kernel makes no local route in ${localRouteWaitMsMax} ms`, async () => {
    const pod = podIn(namespaces, namespaces.make('node'), 'bare', ips);
    await withLocalRoute(pod);
    runIn(pod, 'ip', '-6', 'route', 'del', 'local', IP6, 'dev', 'eth0', 'table', 'local');
    assert.throws(() => addCapture(pod, ips), { code: 'capture-address', message: /made no local route/ });
    assert.match(runIn(pod, 'ip', '-6', 'rule'), /^0:/);
    assert.doesNotMatch(runIn(pod, 'ip', 'rule'), /101/);
    assert.equal(runIn(pod, 'ip', 'route', 'show', 'table', '101'), '');
  });
});
