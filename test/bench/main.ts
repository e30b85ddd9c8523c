import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../../common/errors.ts';
import { ensurePrograms } from '../../scripts/lib/system-packages.mjs';
import { type BenchCase, shapeOf } from './cases.ts';
import { ALL_CASES, type BenchOptions, readOptions, USAGE } from './options.ts';
import { envoy } from './peers/envoy.ts';
import { haproxy } from './peers/haproxy.ts';
import { heddle } from './peers/heddle.ts';
import { httpProxy } from './peers/http-proxy.ts';
import { nginx } from './peers/nginx.ts';
import type { Peer, PeerName, RunningPeer } from './peers/peer.ts';
import type { PodCase } from './pods/cases.ts';
import { podsPassed } from './pods/report.ts';
import { POD_PROGRAMS, podObstacles, runPodCase } from './pods/run.ts';
import { podTable } from './pods/table.ts';
import { type CaseReport, passed, report, table } from './report.ts';
import { runRounds } from './rounds.ts';
import { seats } from './seats.ts';
import { startUpstream } from './upstream.ts';

const PEERS: readonly Peer[] = [heddle, envoy, nginx, haproxy, httpProxy];
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** Whatever the benchmark itself needs: the load, the upstream, the pinning, certificates. */
const PROGRAMS = ['wrk', 'nginx', 'taskset', 'openssl'];

async function runCase(one: BenchCase, options: BenchOptions): Promise<CaseReport> {
  const say = (line: string) => void process.stderr.write(`${one.name}: ${line}\n`);
  const missing: CaseReport['missing'][number][] = [];
  const versions: Partial<Record<PeerName, string>> = {};
  const wanted = PEERS.filter((peer) => peer.topologies.includes(one.topology));
  const found = wanted.filter((peer) => {
    const version = peer.find();
    if (version.ok) versions[peer.name] = version.value;
    else missing.push({ peer: peer.name, why: version.error });
    return version.ok;
  });
  const directory = mkdtempSync(join(tmpdir(), 'heddle-bench-'));
  const places = seats();
  const upstream = await startUpstream(directory, one.bodyBytes, places.upstream);
  const running = new Map<PeerName, RunningPeer>();
  try {
    for (const peer of found) {
      const own = join(directory, peer.name);
      mkdirSync(own);
      say(`starting ${peer.name} ${versions[peer.name]}`);
      running.set(
        peer.name,
        await peer.start({ directory: own, topology: one.topology, upstream, seats: places }),
      );
    }
    const { rounds, seconds } = options;
    const plan = {
      peers: running,
      shape: shapeOf(one),
      body: upstream.body,
      seats: places,
      rounds,
      seconds,
      say,
    };
    return report(one, { measured: await runRounds(plan), missing, versions, seats: places });
  } finally {
    await Promise.all([...running.values()].map((peer) => peer.stop()));
    await upstream.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  let options: BenchOptions;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (thrown) {
    process.stderr.write(`${messageOf(thrown)}\n${USAGE}`);
    return EXIT_USAGE;
  }
  if (options.list) {
    for (const one of ALL_CASES) process.stdout.write(`${one.name}  ${one.summary}${budgetOf(one)}\n`);
    return 0;
  }
  if (process.platform !== 'linux') {
    process.stderr.write('The benchmark reads processor time from /proc: it runs on Linux.\n');
    return EXIT_FAILED;
  }
  let code = 0;
  for (const one of options.cases) {
    const good = isOfPods(one) ? await showPods(one, options) : await showProxies(one, options);
    if (!good) code = EXIT_FAILED;
  }
  return code;
}

/** Whether the case passed; its result is printed. */
async function showProxies(one: BenchCase, options: BenchOptions): Promise<boolean> {
  if (ensurePrograms(PROGRAMS).length > 0) return false;
  const result = await runCase(one, options);
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : table(result));
  return passed(result);
}

async function showPods(one: PodCase, options: BenchOptions): Promise<boolean> {
  const obstacles = podObstacles();
  if (obstacles.length > 0) {
    process.stderr.write(`${one.name} can't be measured here: ${obstacles.join('; ')}\n`);
    return false;
  }
  if (ensurePrograms([...POD_PROGRAMS]).length > 0) return false;
  const result = await runPodCase(one, options);
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : podTable(result));
  return podsPassed(result);
}

function isOfPods(one: BenchCase | PodCase): one is PodCase {
  return 'measures' in one;
}

function budgetOf(one: BenchCase | PodCase): string {
  if (!isOfPods(one)) return `; budget ${one.budget} × Envoy`;
  return one.comparisons
    .filter(({ atLeast }) => atLeast !== undefined)
    .map(({ way, against, atLeast }) => `; budget of ${way}: ${atLeast} × ${against}`)
    .join('');
}

process.exitCode = await main();
