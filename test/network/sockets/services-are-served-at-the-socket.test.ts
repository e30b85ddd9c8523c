import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { addressBytes } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import type { Program } from './program.ts';
import { SocketWorld } from './world.ts';

leakCheck();

const CLUSTER4 = '10.96.7.7';
const CLUSTER6 = 'fd10:96::77';

describe('a Service, for programs in pods', () => {
  let world: SocketWorld;
  let client: Program;
  let stranger: Program;

  before(async () => {
    world = new SocketWorld();
    const pods = [world.pod(11), world.pod(12)] as const;
    for (const pod of pods) {
      const server = await world.program(pod, 'server');
      await server.run(`serve("${pod.name}", "${pod.ip4}", 8080)`);
      await server.run(`serve("${pod.name}", "${pod.ip6}", 8080)`);
    }
    client = await world.program(world.pod(13));
    stranger = await world.program(world.pod(14, 'unknown'));
    const backends = (family: 'ip4' | 'ip6') => pods.map((pod) => [pod[family], 8080] as const);
    world.service({ address: addressBytes(CLUSTER4), port: 80 }, backends('ip4'));
    world.service({ address: addressBytes(CLUSTER6), port: 80 }, backends('ip6'));
  });
  after(() => world.close());

  for (const [family, host, seen] of [
    ['IPv4', CLUSTER4, '10.244.7.13'],
    ['IPv6', CLUSTER6, 'fd10:7::13'],
    ['IPv4 by IPv6 sockets', `::ffff:${CLUSTER4}`, '10.244.7.13'],
  ] as const) {
    it(`answers TCP from its backends, and getpeername shows it: ${family}`, async () => {
      const names = new Set<string>();
      for (let round = 0; round < 40; round++) {
        const [text, peer, port] = (await client.value(`tcp("${host}", 80)`)) as [string, string, number];
        assert.deepEqual([text.split(' ')[1], peer, port], [seen, host, 80]);
        names.add(text.split(' ')[0] ?? '');
      }
      assert.deepEqual([...names].sort(), ['p11', 'p12']);
    });

    for (const connect of ['True', 'False'] as const)
      it(`answers UDP in its own name: ${family}, connected: ${connect}`, async () => {
        const names = new Set<string>();
        for (let round = 0; round < 40; round++) {
          const call = `udp("${host}", 80, connect=${connect})`;
          const [text, peer, port] = (await client.value(call)) as [string, string, number];
          assert.deepEqual([text.split(' ')[1], peer, port], [seen, host, 80]);
          names.add(text.split(' ')[0] ?? '');
        }
        assert.deepEqual([...names].sort(), ['p11', 'p12']);
      });
  }

  it('is nothing to namespaces that this node does not own', async () => {
    const error = await stranger.error(`tcp("${CLUSTER4}", 80, timeout=0.5)`);
    assert.match(error, /^(TIMEOUT|ENETUNREACH|EHOSTUNREACH)$/);
  });
});
