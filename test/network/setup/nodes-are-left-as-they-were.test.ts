import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import {
  type NodeFound,
  type NodeSetup,
  nodeProblems,
  removeNode,
  setUpNode,
} from '../../../cni/setup/node.ts';
import { addPodLink, hostIfnameOf, removePodLink } from '../../../cni/setup/pod.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { runIn } from '../../support/network/commands.ts';
import { assertBecomes, connect, Namespaces, settled } from './namespaces.ts';

leakCheck();
const filesBefore = readdirSync('/proc/self/fd').length;
after(() => assert.equal(readdirSync('/proc/self/fd').length, filesBefore));

const OTHER = {
  podBlocks: ['10.244.2.0/24', 'fd10:244:0:2::/64'],
  address4: '192.168.9.2',
  address6: 'fd09::2',
};

const namespaces = new Namespaces();
let [node, stateDirectory] = ['', ''];
let setup: NodeSetup;

beforeEach(() => {
  node = namespaces.make('node');
  // A namespace takes them over from the machine.
  sysctl('net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0', 'net.ipv4.tcp_migrate_req=0');
  sysctl('net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0');
  connect([node, 'eth0'], [namespaces.make('other'), 'eth0']);
  runIn(node, 'ip', 'addr', 'add', '192.168.9.1/24', 'dev', 'eth0');
  runIn(node, 'ip', 'addr', 'add', 'fd09::1/64', 'dev', 'eth0');
  stateDirectory = mkdtempSync(join(tmpdir(), 'hdlt-s-'));
  setup = {
    ...{ netns: node, uplink: 'eth0', mode: 'tunnel', stateDirectory, otherNodes: [OTHER] },
    ...{ podRanges: ['10.244.0.0/16', 'fd10:244::/56'], dnsAddresses: ['10.96.0.10', 'fd10:96::a'] },
    addresses: ['192.168.9.1', 'fd09::1'],
  };
});
afterEach(() => {
  rmSync(stateDirectory, { recursive: true, force: true });
  namespaces.close();
});

function sysctl(...assignments: readonly string[]): void {
  runIn(node, 'sysctl', '-qw', ...assignments);
}

function settingOf(name: string): string {
  return runIn(node, 'sysctl', '-n', name).trim();
}

describe('a node', () => {
  for (const mode of ['tunnel', 'direct', 'capture'] as const)
    it(`is set up, stays so over a second call, and is left as it was: ${mode}`, async () => {
      const before = await settled(node);
      const first = setUpNode({ ...setup, mode });
      assert.deepEqual(nodeProblems({ ...setup, mode }), []);
      const stands = await settled(node);
      assert.deepEqual(setUpNode({ ...setup, mode }), first);
      await assertBecomes(node, stands);
      if (mode === 'capture') await assertBecomes(node, before);
      else assert.notDeepEqual(stands, before);
      removeNode(setup);
      removeNode(setup);
      await assertBecomes(node, before);
      assert.deepEqual(readdirSync(stateDirectory), []);
    });

  it('changes its mode without a rest of the one before', async () => {
    const before = await settled(node);
    for (const mode of ['tunnel', 'direct', 'tunnel', 'capture', 'direct'] as const) {
      setUpNode({ ...setup, mode });
      assert.deepEqual(nodeProblems({ ...setup, mode }), [], mode);
      const text = runIn(node, 'ip', 'route');
      assert.equal(/dev heddle_vxlan/.test(text), mode === 'tunnel');
      assert.equal(/via 192\.168\.9\.2/.test(text), mode === 'direct');
      if (mode === 'capture') await assertBecomes(node, before);
    }
    removeNode(setup);
    await assertBecomes(node, before);
  });

  it('keeps what it had set itself before, and what somebody set since', async () => {
    sysctl('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.tcp_migrate_req=1');
    sysctl('net.ipv6.conf.eth0.accept_ra=1', 'net.ipv4.conf.all.accept_redirects=1');
    sysctl('net.ipv6.conf.eth0.forwarding=0', 'net.ipv4.conf.lo.forwarding=0');
    runIn(node, 'ip', 'addr', 'add', '10.96.0.10/32', 'dev', 'lo');
    const before = await settled(node);
    setUpNode(setup);
    assert.deepEqual(nodeProblems(setup), []);
    removeNode(setup);
    await assertBecomes(node, before);
    sysctl('net.ipv4.tcp_migrate_req=0');
    setUpNode(setup);
    sysctl('net.ipv4.tcp_migrate_req=0');
    setUpNode(setup);
    assert.equal(settingOf('net.ipv4.tcp_migrate_req'), '1');
    sysctl('net.ipv6.conf.default.forwarding=0');
    removeNode(setup);
    assert.equal(settingOf('net.ipv6.conf.default.forwarding'), '0');
  });

  it('puts back each setting that the kernel changed along', async () => {
    sysctl('net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0');
    sysctl('net.ipv4.conf.eth0.forwarding=1', 'net.ipv6.conf.eth0.forwarding=1');
    sysctl('net.ipv4.conf.all.accept_redirects=0');
    const before = await settled(node);
    setUpNode(setup);
    removeNode(setup);
    await assertBecomes(node, before);
  });

  it('forwards again at the end where it did before and somebody ended it meanwhile', async () => {
    sysctl('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    const before = await settled(node);
    setUpNode(setup);
    sysctl('net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0');
    setUpNode(setup);
    removeNode(setup);
    await assertBecomes(node, before);
  });

  it('goes on taking router advertisements where it took them', () => {
    sysctl('net.ipv6.conf.all.forwarding=0', 'net.ipv6.conf.eth0.accept_ra=1');
    setUpNode(setup);
    assert.equal(settingOf('net.ipv6.conf.eth0.accept_ra'), '2');
    removeNode(setup);
    assert.equal(settingOf('net.ipv6.conf.eth0.accept_ra'), '1');
    sysctl('net.ipv6.conf.eth0.accept_ra=0');
    setUpNode(setup);
    assert.equal(settingOf('net.ipv6.conf.eth0.accept_ra'), '0');
  });

  it('keeps its reverse path filter on its own devices, off the tunnel', async () => {
    sysctl('net.ipv4.conf.all.rp_filter=1', 'net.ipv4.conf.eth0.rp_filter=0');
    const before = await settled(node);
    setUpNode(setup);
    const found = ['all', 'eth0', 'heddle_vxlan'].map((name) => settingOf(`net.ipv4.conf.${name}.rp_filter`));
    assert.deepEqual(found, ['0', '1', '0']);
    removeNode(setup);
    await assertBecomes(node, before);
  });

  it('sends to pods from its own address, not from that of its DNS', () => {
    setUpNode(setup);
    const netns = namespaces.make('pod');
    const hostIfname = hostIfnameOf('source', 'eth0');
    const ips = ['10.244.1.5', 'fd10:244:0:1::5'];
    addPodLink({ netns, nodeNetns: node, ifname: 'eth0', hostIfname, ips, mtu: 1450 });
    for (const [to, from] of [
      ['10.244.1.5', '192.168.9.1'],
      ['10.244.2.5', '192.168.9.1'],
      ['fd10:244:0:1::5', 'fd09::1'],
      ['fd10:244:0:2::5', 'fd09::1'],
    ] as const)
      assert.match(runIn(node, 'ip', 'route', 'get', to), new RegExp(`src ${from} `));
    for (const dns of setup.dnsAddresses) runIn(netns, 'ping', '-c', '1', '-W', '2', dns);
    removePodLink(node, hostIfname);
  });
});

describe('a node that was changed by somebody else', () => {
  const damages: readonly (readonly [mode: 'tunnel' | 'direct', command: string, sentence: RegExp])[] = [
    ['tunnel', 'ip link del heddle_vxlan', /device heddle_vxlan is missing/],
    ['tunnel', 'ip link set heddle_vxlan down', /heddle_vxlan is down/],
    ['tunnel', 'ip link set heddle_vxlan arp on', /asks for MAC addresses/],
    ['tunnel', 'ip link set heddle_vxlan mtu 1400', /1400 instead of 1450/],
    ['tunnel', 'ip route del 10.244.0.0/16', /pods of 10\.244\.0\.0\/16/],
    ['tunnel', 'ip -6 route del fd10:244::/56', /pods of fd10:244::\/56/],
    ['tunnel', 'ip route change 10.244.0.0/16 dev eth0 proto 72', /pods of 10\.244\.0\.0\/16/],
    ['tunnel', 'ip addr del 10.96.0.10/32 dev lo', /lacks the DNS address 10\.96\.0\.10/],
    ['tunnel', 'ip addr del fd10:96::a/128 dev lo', /lacks the DNS address fd10:96::a/],
    ['tunnel', 'sysctl -qw net.ipv4.ip_forward=0', /ip_forward is 0/],
    ['tunnel', 'sysctl -qw net.ipv6.conf.all.forwarding=0', /forwarding is 0/],
    ['tunnel', 'sysctl -qw net.ipv4.tcp_migrate_req=0', /tcp_migrate_req is 0/],
    ['tunnel', 'sysctl -qw net.ipv4.conf.heddle_vxlan.rp_filter=1', /heddle_vxlan\/rp_filter is 1/],
    ['direct', 'ip route del 10.244.2.0/24', /pods of 10\.244\.2\.0\/24/],
    ['direct', 'ip -6 route del fd10:244:0:2::/64', /pods of fd10:244:0:2::\/64/],
    ['direct', 'ip route add 10.244.9.0/24 via 192.168.9.9 proto 72', /10\.244\.9\.0\/24 that Heddle made/],
    ['direct', 'ip link del heddle_vxlan', /device heddle_vxlan is missing/],
    ['direct', 'ip link set heddle_vxlan mtu 1500', /1500 instead of 1450/],
    ['direct', 'ip route add 10.244.9.0/24 dev heddle_vxlan proto 72', /10\.244\.9\.0\/24 that Heddle made/],
  ];
  for (const [mode, command, sentence] of damages)
    it(`is mended in mode ${mode} after: ${command}`, async () => {
      const before = await settled(node);
      setUpNode({ ...setup, mode });
      const [program = '', ...words] = command.split(' ');
      runIn(node, program, ...words);
      assert.match(nodeProblems({ ...setup, mode }).join('\n'), sentence);
      setUpNode({ ...setup, mode });
      assert.deepEqual(nodeProblems({ ...setup, mode }), []);
      removeNode(setup);
      await assertBecomes(node, before);
    });

  it('gets a tunnel of the right kind in the place of another', () => {
    runIn(node, 'ip', 'link', 'add', 'heddle_vxlan', 'type', 'vxlan', 'id', '7', 'dstport', '4789');
    assert.match(nodeProblems(setup).join('\n'), /isn't a VXLAN device for keys of eBPF/);
    setUpNode(setup);
    assert.deepEqual(nodeProblems(setup), []);
    assert.match(
      runIn(node, 'ip', '-d', 'link', 'show', 'heddle_vxlan'),
      /vxlan external .*dstport 4789 nolearning/,
    );
  });
});

describe('routes of mode direct', () => {
  it('follow the other nodes, and leave those behind a router to it', () => {
    const routes = (otherNodes: NodeSetup['otherNodes']) => {
      setUpNode({ ...setup, mode: 'direct', otherNodes });
      assert.deepEqual(nodeProblems({ ...setup, mode: 'direct', otherNodes }), []);
      const shown = [4, 6].map((family) => runIn(node, 'ip', `-${family}`, 'route', 'show', 'proto', '72'));
      return shown
        .join('')
        .replace(/ metric.*| $/gm, '')
        .trim()
        .split('\n');
    };
    assert.deepEqual(routes([OTHER]), [
      '10.244.2.0/24 via 192.168.9.2 dev eth0',
      'fd10:244:0:2::/64 via fd09::2 dev eth0',
    ]);
    const moved = { ...OTHER, address4: '192.168.9.7', address6: 'fd09::7' };
    const third = { podBlocks: ['10.244.3.0/24'], address4: '192.168.9.3' };
    assert.deepEqual(routes([moved, third]), [
      '10.244.2.0/24 via 192.168.9.7 dev eth0',
      '10.244.3.0/24 via 192.168.9.3 dev eth0',
      'fd10:244:0:2::/64 via fd09::7 dev eth0',
    ]);
    runIn(node, 'ip', 'route', 'add', 'default', 'via', '192.168.9.254');
    const far = { podBlocks: ['10.244.4.0/24', 'fd10:244:0:4::/64'], address4: '198.51.100.4' };
    assert.deepEqual(routes([third, far]), ['10.244.3.0/24 via 192.168.9.3 dev eth0']);
    assert.deepEqual(routes([]), ['']);
  });

  it("leave the routes of the node's own pods alone", () => {
    const netns = namespaces.make('pod');
    const hostIfname = hostIfnameOf('own', 'eth0');
    setUpNode({ ...setup, mode: 'direct' });
    addPodLink({ netns, nodeNetns: node, ifname: 'eth0', hostIfname, ips: ['10.244.1.5'], mtu: 1500 });
    setUpNode({ ...setup, mode: 'direct', otherNodes: [] });
    assert.match(runIn(node, 'ip', 'route'), /10\.244\.1\.5 dev hdl/);
    removeNode(setup);
    assert.match(runIn(node, 'ip', 'route'), /10\.244\.1\.5 dev hdl/);
  });
});

describe('what pods may send', () => {
  const cases: readonly (readonly [mode: NodeSetup['mode'], addresses: readonly string[], mtu: number])[] = [
    ['tunnel', ['192.168.9.1', 'fd09::1'], 1450],
    ['tunnel', ['fd09::1', '192.168.9.1'], 1450],
    ['tunnel', ['fd09::1'], 1430],
    ['tunnel', [], 1450],
    ['direct', ['192.168.9.1'], 1500],
    ['capture', ['192.168.9.1'], 1500],
  ];
  for (const [mode, addresses, mtu] of cases)
    it(`is ${mtu} bytes in mode ${mode} on a node with ${addresses.join(' and ') || 'no address yet'}`, () => {
      const found: NodeFound = setUpNode({ ...setup, mode, addresses });
      assert.equal(found.mtu, mtu);
      assert.equal(found.tunnelIfindex !== 0, mode !== 'capture');
      assert.match(
        runIn(node, 'ip', 'link', 'show', 'eth0'),
        new RegExp(`^${found.uplinkIfindex}: .*\n.*${found.uplinkMac}`),
      );
    });

  it('is the whole MTU in mode direct, of which the tunnel takes less', () => {
    const found = setUpNode({ ...setup, mode: 'direct' });
    assert.deepEqual([found.mtu, found.tunnelMtu], [1500, 1450]);
    const six = setUpNode({ ...setup, mode: 'direct', addresses: ['fd09::1'] });
    assert.deepEqual([six.mtu, six.tunnelMtu], [1500, 1430]);
    assert.match(runIn(node, 'ip', 'link', 'show', 'heddle_vxlan'), /mtu 1430/);
    assert.equal(setUpNode({ ...setup, mode: 'capture' }).tunnelMtu, 0);
  });

  it('is refused below 1280 bytes where pods have IPv6', async () => {
    runIn(node, 'ip', 'link', 'set', 'eth0', 'mtu', '1329');
    const before = await settled(node);
    assert.throws(() => setUpNode(setup), { code: 'mtu-too-small', message: /leaves pods 1279 bytes/ });
    await assertBecomes(node, before);
    assert.equal(setUpNode({ ...setup, podRanges: ['10.244.0.0/16'] }).mtu, 1279);
    runIn(node, 'ip', 'link', 'set', 'eth0', 'mtu', '1330');
    assert.equal(setUpNode(setup).mtu, 1280);
  });
});

describe('a node that cannot be set up', () => {
  it('says so where it can be set up, and others will not believe what it sends', () => {
    assert.equal(setUpNode(setup).lacking, undefined);
    runIn(node, 'ip', 'addr', 'add', '192.168.9.7/24', 'dev', 'eth0');
    const { lacking } = setUpNode({ ...setup, addresses: ['192.168.9.7', 'fd09::1'] });
    assert.match(
      lacking ?? '',
      /packets to 192\.168\.9\.2 leave from 192\.168\.9\.1, .*InternalIP 192\.168\.9\.7;/,
    );
    runIn(node, 'ip', 'route', 'add', '192.168.9.2/32', 'dev', 'eth0', 'src', '192.168.9.7');
    assert.equal(setUpNode({ ...setup, addresses: ['192.168.9.7', 'fd09::1'] }).lacking, undefined);
  });

  it('says what is missing: the uplink, an address, a free port', () => {
    assert.throws(() => setUpNode({ ...setup, uplink: 'eth9' }), {
      code: 'uplink-missing',
      message: /--uplink/,
    });
    assert.deepEqual(nodeProblems({ ...setup, uplink: 'eth9' }), ['the node has no device eth9']);
    assert.throws(() => setUpNode({ ...setup, addresses: ['192.168.9.77'] }), { code: 'node-address' });
    runIn(node, 'ip', 'link', 'del', 'heddle_vxlan');
    runIn(node, 'ip', 'link', 'add', 'theirs', 'type', 'vxlan', 'external', 'dstport', '4789');
    assert.throws(() => setUpNode(setup), { code: 'tunnel-port-taken', message: /taken by theirs/ });
  });

  it('does without a tunnel in mode direct where somebody has its port, says so, and makes it later', () => {
    const direct = { ...setup, mode: 'direct' } as const;
    runIn(node, 'ip', 'link', 'add', 'theirs', 'type', 'vxlan', 'external', 'dstport', '4789');
    for (let n = 0; n < 2; n++) {
      const found = setUpNode(direct);
      assert.deepEqual([found.tunnelIfindex, found.tunnelMtu, found.mtu], [0, 0, 1500]);
      assert.match(found.lacking ?? '', /clients outside .*UDP port 4789 is taken by theirs: remove that/);
      assert.deepEqual(nodeProblems(direct), []);
    }
    runIn(node, 'ip', 'link', 'del', 'theirs');
    assert.deepEqual(nodeProblems(direct), ['the device heddle_vxlan is missing']);
    const { tunnelIfindex, lacking } = setUpNode(direct);
    assert.ok(tunnelIfindex !== 0 && lacking === undefined);
    assert.deepEqual(nodeProblems(direct), []);
  });

  it('says so of a program that listens at the port, and leaves no device', async () => {
    const bound =
      'import socket,sys; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 4789)); print("bound", flush=True); sys.stdin.read()';
    const holder = spawn('nsenter', [`--net=${node}`, '--', 'python3', '-c', bound]);
    try {
      await once(holder.stdout, 'data');
      assert.throws(() => setUpNode(setup), {
        code: 'tunnel-port-taken',
        message: /port 4789 is taken: remove/,
      });
      assert.doesNotMatch(runIn(node, 'ip', 'link'), /heddle_vxlan/);
    } finally {
      holder.stdin.end();
      await once(holder, 'exit');
    }
  });

  it('changes nothing where it is unknown what it was like before', async () => {
    writeFileSync(join(stateDirectory, 'node-before.json'), '{"sysctls":');
    const before = await settled(node);
    assert.throws(() => setUpNode(setup), { code: 'node-memory', message: /mend or remove it/ });
    await assertBecomes(node, before);
  });

  it('needs nothing for its removal where its namespace is gone', () => {
    setUpNode(setup);
    namespaces.remove(node);
    removeNode(setup);
    assert.deepEqual(readdirSync(stateDirectory), []);
  });
});
