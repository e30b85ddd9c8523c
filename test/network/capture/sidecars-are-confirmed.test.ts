import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type SidecarCandidate, Sidecars } from '../../../cni/agent/sidecars.ts';
import { RingReader } from '../../../cni/kernel/libbpf.ts';
import { systemClock } from '../../../common/clock.ts';
import { jsonLogger } from '../../../common/log.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import type { Program } from '../sockets/program.ts';
import { SocketWorld, type TestPod } from '../sockets/world.ts';
import { cgroupId, SIDECAR_UID, SidecarProcess } from './sidecar-process.ts';

leakCheck();

const WITHIN = { deadlineMs: 5_000 };
const candidatesPerSecondMax = 16;

describe('the sidecar of a pod', () => {
  let world: SocketWorld;
  let meshed: TestPod;
  let plain: TestPod;
  let app: Program;
  let peer: Program;
  const running: (SidecarProcess | Sidecars)[] = [];

  beforeEach(async () => {
    world = new SocketWorld();
    meshed = world.pod(11, 'meshed');
    plain = world.pod(12);
    app = await world.program(meshed);
    peer = await world.program(plain);
    for (const [program, pod] of [
      [app, meshed],
      [peer, plain],
    ] as const)
      for (const address of [pod.ip4, pod.ip6]) await program.run(`serve("${pod.name}", "${address}", 8080)`);
  });
  afterEach(async () => {
    for (const one of running.splice(0)) {
      if (one instanceof Sidecars) one[Symbol.dispose]();
      else await one.stop();
    }
    await world.close();
  });

  const asked: SidecarCandidate[] = [];
  function agent(
    isSidecar = (one: SidecarCandidate): boolean | Promise<boolean> =>
      one.cgroupPath.endsWith('heddle-proxy'),
  ) {
    asked.length = 0;
    const map = (name: string) => world.object.map(name);
    const sidecars = new Sidecars({
      maps: {
        ...{ pod: map('pod_map'), listener: map('listener_map') },
        ...{ sidecarSocket: map('sidecar_socket_map'), candidate: map('candidate_ring') },
      },
      cgroupMount: { place: world.cgroupRoot, root: '/' },
      isSidecar: (one) => {
        asked.push(one);
        return isSidecar(one);
      },
      clock: systemClock,
      log: jsonLogger(systemClock, () => {}),
    });
    running.push(sidecars);
    return sidecars;
  }

  async function start(container = 'heddle-proxy', hosts = '127.0.0.1 ::1'): Promise<SidecarProcess> {
    const sidecar = await SidecarProcess.start(world, meshed, { container, hosts, confirmed: false });
    running.push(sidecar);
    return sidecar;
  }

  async function assertServed(): Promise<void> {
    for (const family of ['ip4', 'ip6'] as const) {
      await eventually(async () => (await app.error(`tcp("${plain[family]}", 8080)`)).startsWith('none'), {
        ...{ ...WITHIN, what: `it goes out by ${family}` },
      });
      await eventually(async () => (await peer.error(`tcp("${meshed[family]}", 8080)`)).startsWith('none'), {
        ...{ ...WITHIN, what: `it comes in by ${family}` },
      });
    }
  }

  async function assertRefused(): Promise<void> {
    for (const family of ['ip4', 'ip6'] as const) {
      assert.equal(await app.error(`tcp("${plain[family]}", 8080)`), 'ECONNREFUSED');
      assert.equal(await peer.error(`tcp("${meshed[family]}", 8080)`), 'ECONNREFUSED');
    }
  }

  it('is confirmed when it begins to listen, and what it has open is registered', async () => {
    const sidecars = agent();
    await assertRefused();
    const sidecar = await start();
    await assertServed();
    assert.deepEqual([...sidecars.confirmed()], [[meshed.podId, cgroupId(sidecar.cgroup)]]);
    assert.deepEqual([asked[0]?.netnsCookie, asked[0]?.podId], [meshed.cookie, meshed.podId]);
  });

  for (const hosts of ['::', '0.0.0.0 ::1'])
    it(`may listen everywhere: ${hosts}`, async () => {
      agent();
      await start('heddle-proxy', hosts);
      await assertServed();
    });

  it('registers by itself when it starts again in its container, with no agent there', async () => {
    const sidecars = agent();
    const first = await start();
    await assertServed();
    sidecars[Symbol.dispose]();
    await first.stop();
    await assertRefused();
    await start('heddle-proxy', '::');
    await assertServed();
  });

  it('is found by an agent that was away when it started', async () => {
    await start();
    let lost = 0;
    using ring = new RingReader(world.object.map('candidate_ring'), () => void lost++);
    ring.poll();
    assert.notEqual(lost, 0);
    const sidecars = agent();
    await assertRefused();
    await sidecars.scan();
    await assertServed();
    assert.equal(asked.length, 1);
    await sidecars.scan();
    assert.equal(asked.length, 1, 'who is confirmed is not asked for again');
  });

  it('is found where the process that made its sockets has ended, or has another number here', async () => {
    const sidecars = agent();
    const maker = await world.program(meshed, 'heddle-proxy', SIDECAR_UID);
    const pid = await maker.run(`
import os, socket, time
reading, writing = os.pipe()
if os.fork() == 0:
    made = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        for port in (15001, 15006):
            one = socket.socket(family)
            one.bind((host, port))
            made.append(one)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        for known in (0, 1, 2): os.close(known)
        while os.getppid() == parent: time.sleep(0.01)
        for one in made: one.listen(8)
        time.sleep(60)
    os.write(writing, str(child).encode())
    os._exit(0)
os.wait()
result = int(os.read(reading, 16))`);
    try {
      await eventually(() => sidecars.confirmed().size === 1, { ...WITHIN, what: 'it is confirmed' });
    } finally {
      process.kill(Number(pid), 'SIGKILL');
    }
  });

  it('is not what another container of the pod runs as its user', async () => {
    const sidecars = agent();
    await start('app');
    await eventually(() => asked.length > 0, { ...WITHIN, what: 'the container is asked for' });
    await sidecars.scan();
    await assertRefused();
    assert.equal(sidecars.confirmed().size, 0);
  });

  it('may take its place in a new container', async () => {
    agent((one) => one.cgroupPath.includes('heddle-proxy'));
    const first = await start();
    await assertServed();
    await first.stop();
    await start('heddle-proxy-2');
    await assertServed();
  });

  it('may end while it is being judged', async () => {
    let ended: Promise<void> | undefined;
    const sidecars = agent(async () => {
      const process = () => running.find((one) => one instanceof SidecarProcess);
      // It is asked for from its first listener on; it is ours to stop once it has all of them.
      await eventually(() => process() !== undefined, { ...WITHIN, what: 'it listens' });
      ended ??= process()?.stop();
      await ended;
      return true;
    });
    await start();
    await eventually(() => ended !== undefined, { ...WITHIN, what: 'it is asked for' });
    await ended;
    await eventually(() => sidecars.confirmed().size === 1, { ...WITHIN, what: 'the answer is written' });
    await assertRefused();
    await start();
    await assertServed();
  });

  it('stays unknown where its pod goes while it is being judged', async () => {
    const sidecars = agent((one) => {
      const key = Buffer.alloc(8);
      key.writeBigUInt64LE(one.netnsCookie);
      world.object.map('pod_map').delete(key);
      return true;
    });
    await start();
    await eventually(() => asked.length > 0, { ...WITHIN, what: 'it is asked for' });
    await sidecars.scan();
    assert.equal(sidecars.confirmed().size, 0);
  });

  it('is told of at most sixteen times a second for each pod', async () => {
    const records: Buffer[] = [];
    using ring = new RingReader(world.object.map('candidate_ring'), (record) => records.push(record));
    const impostor = await world.program(meshed, 'app', SIDECAR_UID);
    const tries = 500;
    const seconds = (await impostor.run(`
import time
started = time.monotonic()
for _ in range(${tries}): listener("127.0.0.1", 15001).close()
result = time.monotonic() - started`)) as number;
    ring.poll();
    const most = candidatesPerSecondMax * (Math.ceil(seconds) + 1);
    assert.ok(
      records.length >= candidatesPerSecondMax && records.length <= most,
      `${records.length} of ${tries}`,
    );
    assert.ok(most < tries);
  });
});
