import http from 'node:http';
import type { LoadShape } from './cases.ts';
import { cpuMicros, privateMb } from './counters.ts';
import { runLoad } from './load.ts';
import type { PeerName, RunningPeer } from './peers/peer.ts';
import type { Seats } from './seats.ts';

/** One measurement of one proxy. */
export interface Measurement {
  readonly round: number;
  readonly peer: PeerName;
  /** CPU time of the proxy's own processes for one request, in microseconds. */
  readonly us: number;
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Requests that failed: any makes the case fail. */
  readonly errors: number;
  readonly privateMb: number;
}

export interface RoundPlan {
  readonly peers: ReadonlyMap<PeerName, RunningPeer>;
  readonly shape: LoadShape;
  readonly body: string;
  readonly seats: Seats;
  readonly rounds: number;
  readonly seconds: number;
  say(line: string): void;
}

/** Just-in-time compilers, connection pools and branch predictors settle before anything is counted. */
const FIRST_WARM_UP_SECONDS = 3;
const WARM_UP_SECONDS = 1;

/** Measures every proxy once a round, beginning with another one each time: what drifts over minutes meets all of them. */
export async function runRounds(plan: RoundPlan): Promise<readonly Measurement[]> {
  const { peers, shape, body, seats } = plan;
  for (const [name, peer] of peers) {
    await checkAnswer(name, peer.url, shape, body);
    await runLoad(peer.url + shape.path, shape, FIRST_WARM_UP_SECONDS, seats.load);
  }
  const measured: Measurement[] = [];
  const names = [...peers.keys()];
  for (let round = 1; round <= plan.rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(turn + round - 1) % names.length];
      const peer = name === undefined ? undefined : peers.get(name);
      if (name === undefined || peer === undefined) continue;
      const one = await measure(name, peer, round, plan);
      plan.say(
        `round ${round} ${name}: ${one.us.toFixed(1)} µs, ${Math.round(one.requestsPerSecond)} requests/s`,
      );
      measured.push(one);
    }
  }
  return measured;
}

async function measure(
  name: PeerName,
  peer: RunningPeer,
  round: number,
  plan: RoundPlan,
): Promise<Measurement> {
  const { shape, seats, seconds } = plan;
  const url = peer.url + shape.path;
  await runLoad(url, shape, WARM_UP_SECONDS, seats.load);
  const pids = peer.pids();
  const before = cpuMicros(pids);
  const load = await runLoad(url, shape, seconds, seats.load);
  const spent = cpuMicros(pids) - before;
  return {
    round,
    peer: name,
    us: spent / Math.max(1, load.requests),
    requests: load.requests,
    requestsPerSecond: (load.requests * 1_000_000) / load.durationUs,
    p50Ms: load.p50Us / 1_000,
    p99Ms: load.p99Us / 1_000,
    errors: load.failed,
    privateMb: privateMb(pids),
  };
}

/** A proxy that answers something else, or answers itself, is not measured. */
async function checkAnswer(name: PeerName, url: string, shape: LoadShape, body: string): Promise<void> {
  const answer = await new Promise<{ status: number; body: string }>((resolve, reject) => {
    const options = { headers: shape.headers, agent: false };
    const request = http.get(url + shape.path, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
      );
    });
    request.on('error', reject);
  });
  if (answer.status === 200 && answer.body === body) return;
  throw new Error(`${name} does not forward: status ${answer.status}, ${answer.body.slice(0, 200)}`);
}
