import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { masqueradeProblems, removeMasquerade, setMasquerade } from '../../../cni/setup/masquerade.ts';
import { setUpNode } from '../../../cni/setup/node.ts';
import { addPodLink, hostIfnameOf } from '../../../cni/setup/pod.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { ip, runIn } from '../../support/network/commands.ts';
import { connect, Namespaces, nameOf } from './namespaces.ts';

leakCheck();
const filesBefore = readdirSync('/proc/self/fd').length;
after(() => assert.equal(readdirSync('/proc/self/fd').length, filesBefore));

const SERVER = fileURLToPath(new URL('masquerade-server.py', import.meta.url));
/** Prints what the server says, or what went wrong. */
const CLIENT = `
import socket, sys
try:
    print(socket.create_connection((sys.argv[1], 8080), timeout=1).recv(64).decode())
except OSError as problem:
    print(type(problem).__name__)
`;
const serverReadyMs = 10_000;
const RANGES = ['10.244.0.0/16', 'fd10:244::/56'];
const A = { name: 'a', ips: ['192.0.2.2', '2001:db8::2'], pod: ['10.244.1.5', 'fd10:244:0:1::5'] } as const;
const B = { name: 'b', ips: ['192.0.2.3', '2001:db8::3'], pod: ['10.244.2.5', 'fd10:244:0:2::5'] } as const;
const WORLD = ['192.0.2.1', '2001:db8::1'] as const;

describe('masquerade', () => {
  const namespaces = new Namespaces();
  const directory = mkdtempSync(join(tmpdir(), 'hdlt-s-'));
  const servers: ChildProcess[] = [];
  const netns: Record<string, string> = {};
  const wanted = () => ({
    ...{ netns: netns.a ?? '', podRanges: RANGES },
    nodeAddresses: [...A.ips, ...B.ips],
  });

  before(async () => {
    const underlay = namespaces.make('underlay');
    runIn(underlay, 'ip', 'link', 'add', 'br0', 'type', 'bridge');
    runIn(underlay, 'ip', 'link', 'set', 'br0', 'up');
    for (const [name, ips] of [
      ['a', A.ips],
      ['b', B.ips],
      ['world', WORLD],
    ] as const) {
      const made = namespaces.make(name);
      netns[name] = made;
      connect([underlay, `u-${name}`], [made, 'eth0']);
      ip('-n', nameOf(underlay), 'link', 'set', `u-${name}`, 'master', 'br0');
      runIn(made, 'ip', 'addr', 'add', `${ips[0]}/24`, 'dev', 'eth0');
      runIn(made, 'ip', 'addr', 'add', `${ips[1]}/64`, 'dev', 'eth0', 'nodad');
    }
    for (const [own, other] of [
      [A, B],
      [B, A],
    ] as const) {
      const podBlocks = [`${other.pod[0]}/32`, `${other.pod[1]}/128`];
      setUpNode({
        ...{ netns: netns[own.name], uplink: 'eth0', mode: 'direct', podRanges: RANGES, dnsAddresses: [] },
        ...{ addresses: own.ips, stateDirectory: join(directory, own.name) },
        otherNodes: [{ podBlocks, address4: other.ips[0], address6: other.ips[1] }],
      });
      const pod = namespaces.make(`pod-${own.name}`);
      netns[`pod-${own.name}`] = pod;
      const base = { netns: pod, nodeNetns: netns[own.name], ifname: 'eth0', mtu: 1500, ips: own.pod };
      addPodLink({ ...base, hostIfname: hostIfnameOf(pod, 'eth0'), nodeAddresses: own.ips });
    }
    for (const name of ['world', 'b', 'pod-b', 'a']) servers.push(await serve(netns[name] ?? ''));
    setMasquerade(wanted());
  });
  after(async () => {
    for (const server of servers) {
      if (server.exitCode !== null || server.signalCode !== null) continue;
      const ended = once(server, 'close');
      server.kill('SIGKILL');
      await ended;
    }
    namespaces.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** By which address the server at `address` saw a client. */
  function seenBy(address: string, client: string): string {
    return runIn(netns[client] ?? '', 'python3', '-c', CLIENT, address).trim();
  }

  for (const family of [0, 1] as const) {
    const name = family === 0 ? 'IPv4' : 'IPv6';
    it(`shows the world the node's address for the pod's: ${name}`, () => {
      assert.equal(seenBy(WORLD[family], 'pod-a'), A.ips[family]);
    });
    it(`shows pods and nodes the pod's own address: ${name}`, () => {
      assert.equal(seenBy(B.pod[family], 'pod-a'), A.pod[family]);
      assert.equal(seenBy(B.ips[family], 'pod-a'), A.pod[family]);
      assert.equal(seenBy(A.ips[family], 'pod-a'), A.pod[family]);
    });
    it(`leaves what the node itself sends alone: ${name}`, () => {
      assert.equal(seenBy(WORLD[family], 'a'), A.ips[family]);
      assert.equal(seenBy(B.pod[family], 'a'), A.ips[family]);
    });
  }

  it('finds out what somebody else changed, and writes it anew', () => {
    const a = netns.a ?? '';
    const damages: readonly (readonly [command: string, sentence: RegExp])[] = [
      ['delete table inet heddle', /table heddle is missing/],
      ['flush chain inet heddle leaving', /rules of the nftables table heddle/],
      ['insert rule inet heddle leaving accept', /rules of the nftables table heddle/],
      ['add element inet heddle nodes4 { 203.0.113.9 }', /set nodes4/],
      ['delete element inet heddle pods6 { fd10:244::/56 }', /set pods6/],
      ['flush chain inet heddle leaving; delete chain inet heddle leaving', /isn't in the hook postrouting/],
    ];
    assert.deepEqual(masqueradeProblems(wanted()), []);
    for (const [command, sentence] of damages) {
      runIn(a, 'nft', command);
      assert.match(masqueradeProblems(wanted()).join('\n'), sentence, command);
      setMasquerade(wanted());
      assert.deepEqual(masqueradeProblems(wanted()), [], command);
    }
  });

  it('takes ranges that overlap or touch, and single addresses', () => {
    const podRanges = [
      '10.1.0.0/24',
      '10.1.1.0/24',
      '10.1.1.0/24',
      '10.1.0.0/16',
      '10.9.9.9/32',
      'fd01::9/128',
    ];
    const odd = { ...wanted(), podRanges, nodeAddresses: ['2001:DB8:0::2', '2001:db8::2'] };
    setMasquerade(odd);
    assert.deepEqual(masqueradeProblems(odd), []);
    const touching = {
      ...wanted(),
      podRanges: ['10.1.0.0/24', '10.1.1.0/24'],
      nodeAddresses: ['10.2.0.1', '10.2.0.2'],
    };
    setMasquerade(touching);
    assert.deepEqual(masqueradeProblems(touching), []);
    setMasquerade(wanted());
  });

  it('says which program is missing', () => {
    const path = process.env.PATH;
    process.env.PATH = directory;
    try {
      assert.throws(() => setMasquerade(wanted()), {
        code: 'nft-missing',
        message: /install the package nftables/,
      });
    } finally {
      process.env.PATH = path;
    }
    assert.throws(() => setMasquerade({ ...wanted(), nodeAddresses: ['nowhere'] }), { code: 'nft-failed' });
    assert.deepEqual(masqueradeProblems(wanted()), [], 'a refused table changes nothing');
  });

  it('is gone after its removal: the world has no way back to a pod', () => {
    removeMasquerade(netns.a);
    removeMasquerade(netns.a);
    assert.equal(runIn(netns.a ?? '', 'nft', 'list', 'ruleset'), '');
    for (const address of WORLD) assert.equal(seenBy(address, 'pod-a'), 'TimeoutError');
  });
});

async function serve(netns: string): Promise<ChildProcess> {
  const server = spawn('nsenter', [`--net=${netns}`, '--', 'python3', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(server.stdout, 'data', { signal: AbortSignal.timeout(serverReadyMs) });
  server.stdout.resume();
  return server;
}
