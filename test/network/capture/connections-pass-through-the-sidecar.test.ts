import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DIRECTION } from '../../../cni/maps/constants.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes, noAddress } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import type { Program } from '../sockets/program.ts';
import { SocketWorld, type TestPod } from '../sockets/world.ts';
import { SidecarProcess, type Told } from './sidecar-process.ts';

leakCheck();

const CLUSTER4 = '10.96.7.7';
const CLUSTER6 = 'fd10:96::77';

describe('a meshed pod', () => {
  let world: SocketWorld;
  let meshed: TestPod;
  let plain: TestPod;
  let app: Program;
  let peer: Program;
  let sidecar: SidecarProcess;

  before(async () => {
    world = new SocketWorld();
    meshed = world.pod(11, 'meshed');
    plain = world.pod(12);
    sidecar = await SidecarProcess.start(world, meshed);
    app = await world.program(meshed);
    peer = await world.program(plain);
    for (const [program, pod] of [
      [app, meshed],
      [peer, plain],
    ] as const)
      for (const address of [pod.ip4, pod.ip6])
        for (const port of [8080, 9090, 15020])
          await program.run(`serve("${pod.name}", "${address}", ${port})`);
    for (const port of [9090])
      for (const direction of [DIRECTION.INGRESS, DIRECTION.EGRESS])
        world.set(TABLES.skippedPort, { podId: meshed.podId, port, direction }, 1);
    world.service({ address: addressBytes(CLUSTER4), port: 80 }, [[plain.ip4, 8080]]);
    world.service({ address: addressBytes(CLUSTER6), port: 80 }, [[plain.ip6, 8080]]);
    world.service({ address: addressBytes(CLUSTER4), port: 9090 }, [[plain.ip4, 9090]]);
  });
  after(async () => {
    await sidecar.stop();
    await world.close();
  });
  beforeEach(() => {
    sidecar.told.length = 0;
  });

  async function toldOne(): Promise<Told | undefined> {
    await eventually(() => sidecar.told.length > 0, { deadlineMs: 5_000, what: 'the sidecar tells' });
    return sidecar.told[0];
  }

  for (const family of ['ip4', 'ip6'] as const) {
    it(`sends its TCP through the sidecar, which sees where it was going: ${family}`, async () => {
      const [text, host, port] = (await app.value(`tcp("${plain[family]}", 8080)`)) as [
        string,
        string,
        number,
      ];
      assert.deepEqual([host, port], [plain[family], 8080], 'getpeername is true');
      assert.equal(text, `p12 ${meshed[family]}`);
      assert.deepEqual(await toldOne(), {
        way: 'outbound',
        from: meshed[family],
        to: plain[family],
        port: 8080,
      });
    });

    it(`lets the sidecar see a Service's own address: ${family}`, async () => {
      const cluster = family === 'ip4' ? CLUSTER4 : CLUSTER6;
      const [text, host, port] = (await app.value(`tcp("${cluster}", 80)`)) as [string, string, number];
      assert.deepEqual([host, port], [cluster, 80]);
      // The sidecar dialled the Service, and that was translated.
      assert.equal(text, `p12 ${meshed[family]}`);
      assert.deepEqual(await toldOne(), { way: 'outbound', from: meshed[family], to: cluster, port: 80 });
    });

    it(`gets its TCP through the sidecar, and sees the client's address: ${family}`, async () => {
      const [text, host, port] = (await peer.value(`tcp("${meshed[family]}", 8080)`)) as [
        string,
        string,
        number,
      ];
      assert.deepEqual([text, host, port], [`p11 ${plain[family]}`, meshed[family], 8080]);
      assert.deepEqual(await toldOne(), {
        way: 'inbound',
        from: plain[family],
        to: meshed[family],
        port: 8080,
      });
    });

    it(`tells its sidecar at once that nobody listens: ${family}`, async () => {
      await peer.error(`tcp("${meshed[family]}", 7999)`);
      const refused = () => sidecar.told.find(({ problem }) => problem !== undefined)?.problem;
      await eventually(() => refused() !== undefined, { deadlineMs: 1_000, what: 'the refusal arrives' });
      assert.match(refused() ?? '', /ECONNREFUSED/);
    });

    it(`keeps connections to itself to itself: ${family}`, async () => {
      const [text] = (await app.value(`tcp("${meshed[family]}", 8080)`)) as [string];
      assert.equal(text, `p11 ${meshed[family]}`);
      const loopback = family === 'ip4' ? '127.0.0.1' : '::1';
      await app.run(`serve("own", "${loopback}", 7000)`);
      assert.equal(((await app.value(`tcp("${loopback}", 7000)`)) as [string])[0], `own ${loopback}`);
      assert.deepEqual(sidecar.told, []);
    });

    it(`leaves UDP and skipped ports alone, both ways: ${family}`, async () => {
      assert.equal(
        ((await app.value(`udp("${plain[family]}", 8080)`)) as [string])[0],
        `p12 ${meshed[family]}`,
      );
      assert.equal(
        ((await peer.value(`udp("${meshed[family]}", 8080)`)) as [string])[0],
        `p11 ${plain[family]}`,
      );
      assert.equal(
        ((await app.value(`tcp("${plain[family]}", 9090)`)) as [string])[0],
        `p12 ${meshed[family]}`,
      );
      assert.equal(
        ((await peer.value(`tcp("${meshed[family]}", 9090)`)) as [string])[0],
        `p11 ${plain[family]}`,
      );
      assert.equal(
        ((await peer.value(`tcp("${meshed[family]}", 15020)`)) as [string])[0],
        `p11 ${plain[family]}`,
      );
      assert.deepEqual(sidecar.told, []);
    });

    it(`leaves skipped prefixes alone: ${family}`, async () => {
      const bits = 32 + 128;
      const key = { bits, podId: meshed.podId, address: addressBytes(plain[family]) };
      world.set(TABLES.skippedPrefix, key, 1);
      assert.equal(
        ((await app.value(`tcp("${plain[family]}", 8080)`)) as [string])[0],
        `p12 ${meshed[family]}`,
      );
      assert.deepEqual(sidecar.told, []);
      world.delete(TABLES.skippedPrefix, key);
    });
  }

  it("asks the cluster's DNS by itself, by TCP and UDP, and nothing else of that address", async () => {
    const server = await world.program(plain, 'dns');
    for (const address of [plain.ip4, plain.ip6]) await server.run(`serve("dns", "${address}", 53)`);
    world.set(TABLES.node, 0, {
      ...{ node4: noAddress(), node6: noAddress(), netnsCookie: 0n, tunnelIfindex: 0, uplinkIfindex: 0 },
      ...{ dns4: addressBytes(plain.ip4), dns6: addressBytes(plain.ip6), flags: 0, tunnelMtu: 0 },
      uplinkMac: '00:00:00:00:00:00',
    });
    for (const address of [plain.ip4, plain.ip6])
      for (const call of ['tcp', 'udp'])
        assert.match(((await app.value(`${call}("${address}", 53)`)) as [string])[0], /^dns /);
    assert.deepEqual(sidecar.told, []);
    await app.run(`tcp("${plain.ip4}", 8080)`);
    assert.equal((await toldOne())?.port, 8080);
  });

  it('sees the truth by an IPv6 socket that dials IPv4', async () => {
    const [text, host] = (await app.value(`tcp("::ffff:${plain.ip4}", 8080)`)) as [string, string];
    assert.deepEqual([text, host], [`p12 ${meshed.ip4}`, `::ffff:${plain.ip4}`]);
    assert.equal((await toldOne())?.to, plain.ip4);
  });

  it('reaches a skipped port of a Service as a pod without a sidecar would', async () => {
    const [text, host, port] = (await app.value(`tcp("${CLUSTER4}", 9090)`)) as [string, string, number];
    assert.deepEqual([text, host, port], [`p12 ${meshed.ip4}`, CLUSTER4, 9090]);
    assert.deepEqual(sidecar.told, []);
  });

  it('gets UDP of a Service answered', async () => {
    const [text, host] = (await app.value(`udp("${CLUSTER4}", 80)`)) as [string, string];
    assert.deepEqual([text, host], [`p12 ${meshed.ip4}`, CLUSTER4]);
  });

  it('is refused both ways while its sidecar is down, and served again by the next', async () => {
    await sidecar.stop();
    for (const family of ['ip4', 'ip6'] as const) {
      assert.equal(await app.error(`tcp("${plain[family]}", 8080)`), 'ECONNREFUSED');
      assert.equal(await peer.error(`tcp("${meshed[family]}", 8080)`), 'ECONNREFUSED');
    }
    sidecar = await SidecarProcess.start(world, meshed);
    for (const family of ['ip4', 'ip6'] as const) {
      await app.run(`tcp("${plain[family]}", 8080)`);
      await peer.run(`tcp("${meshed[family]}", 8080)`);
    }
    await eventually(() => sidecar.told.length === 4, {
      deadlineMs: 5_000,
      what: 'four connections are told',
    });
  });
});
