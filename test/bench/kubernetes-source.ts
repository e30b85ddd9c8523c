// node bin/pinned test/bench/kubernetes-source.ts [SERVICES PODS]: what a control plane costs that follows a large cluster.
import { fileURLToPath } from 'node:url';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import type { FakeApi } from '../support/kubernetes/fake-api.ts';
import { serveApi } from '../support/kubernetes/http.ts';
import { type ClusterSize, emptyCluster, fill, podCount, sliceOf } from './cluster-objects.ts';
import { cpuMicros, residentMb } from './counters.ts';
import { startClusterControlPlane } from './kubernetes-control-plane.ts';

const [services = 1_000, pods = 10_000] = process.argv.slice(2).map(Number);
const SIZE: ClusterSize = { services, pods };
const CHANGES = 200;
const CHANGE_EVERY_MS = 50;
const SETTLE_MS = 3_000;
const PROGRAM = fileURLToPath(
  new URL(process.env.HEDDLE_PROGRAM ?? '../../control-plane/main.ts', import.meta.url),
);

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function memoryOf(pid: number): string {
  const { nowMb, peakMb } = residentMb(pid);
  return `${Math.round(nowMb)} MiB (at most ${Math.round(peakMb)} MiB)`;
}

async function measure(what: string, api: FakeApi, changes: number): Promise<void> {
  const http = await serveApi(api);
  const program = await startClusterControlPlane({
    ...{ program: PROGRAM, server: http.server, seat: undefined, xdsPort: 0 },
  });
  const { pid } = program;
  try {
    console.log(
      `${what}: ready after ${Math.round(program.readyMs)} ms, ${Math.round(cpuMicros([pid]) / 1_000)} ms of CPU`,
    );
    await wait(SETTLE_MS);
    console.log(`${what}: ${memoryOf(pid)}`);
    if (changes === 0) return;
    const before = cpuMicros([pid]);
    for (let change = 0; change < changes; change++) {
      api.put(KINDS.endpointSlice, sliceOf(change % services, change % 2 === 0, SIZE));
      await wait(CHANGE_EVERY_MS);
    }
    await wait(SETTLE_MS);
    const perChange = (cpuMicros([pid]) - before) / changes / 1_000;
    console.log(
      `${what}: ${perChange.toFixed(1)} ms of CPU for the change of one endpoint, ${memoryOf(pid)} after ${changes}`,
    );
  } finally {
    await program.stop();
    await http.close();
  }
}

await measure('an empty cluster', emptyCluster(), 0);
const api = emptyCluster();
fill(api, SIZE);
await measure(`${services} Services and ${podCount(SIZE)} Pods`, api, CHANGES);
