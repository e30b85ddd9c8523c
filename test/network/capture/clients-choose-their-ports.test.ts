import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import type { Program } from '../sockets/program.ts';
import { SocketWorld, type TestPod } from '../sockets/world.ts';
import { SidecarProcess } from './sidecar-process.ts';

leakCheck();

const FIRST_PORT = 33_000;
const CONNECTIONS = 10_000;
/** Less than the second after which a lost SYN is sent again. */
const SLOW_S = 0.9;

describe('a client that binds its source port', () => {
  let world: SocketWorld;
  let meshed: TestPod;
  let plain: TestPod;
  let client: Program;
  let sidecar: SidecarProcess;

  before(async () => {
    world = new SocketWorld();
    meshed = world.pod(11, 'meshed');
    plain = world.pod(12);
    sidecar = await SidecarProcess.start(world, meshed, { quiet: true });
    client = await world.program(plain);
    const app = await world.program(meshed);
    for (const address of [meshed.ip4, meshed.ip6]) await app.run(`serve("p11", "${address}", 8080)`);
  });
  after(async () => {
    await sidecar.stop();
    await world.close();
  });

  // The sidecar dials the app from the client's address with ports of its own choice, from the same range.
  for (const family of ['ip4', 'ip6'] as const)
    it(`is served ${CONNECTIONS} times, none hangs: ${family}`, async () => {
      const outcome = (await client.run(`
import time
slow, failed, wrong = 0, [], 0
for port in range(${FIRST_PORT}, ${FIRST_PORT + CONNECTIONS}):
    started = time.monotonic()
    try:
        text = tcp("${meshed[family]}", 8080, source=("${plain[family]}", port))[0]
        wrong += text != "p11 ${plain[family]}"
    except OSError as problem:
        failed.append(f"{port}: {problem}")
    slow += time.monotonic() - started > ${SLOW_S}
result = [slow, failed[:5], len(failed), wrong]`)) as unknown[];
      assert.deepEqual(outcome, [0, [], 0, 0]);
    });
});
