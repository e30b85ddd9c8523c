import { TYPE } from '../../../common/wire/types.ts';
import { KINDS } from '../../../sources/kubernetes/kinds.ts';
import { clusterOf, nowMs } from '../../support/simulated-sidecar.ts';
import { routeOf, sliceOf } from '../cluster-objects.ts';
import type { ClusterControlPlane } from '../kubernetes-control-plane.ts';
import { costOf, type Figures, latencyOf, memoryOf, round, wait } from './figures.ts';
import type { Fleet } from './fleet.ts';
import { destinationOf, POPULAR, type World } from './world.ts';

export interface Stage {
  readonly world: World;
  readonly fleet: Fleet;
  controlPlane: ClusterControlPlane;
  /** Another control plane on the same port, in the place of the one before, which ends at once. */
  replace(): Promise<void>;
  readonly slowSeconds: number;
  readonly changes: number;
}

const CHANGE_EVERY_MS = 50;
const SETTLE_MS = 3_000;
const POPULAR_CHANGES = 30;
const ROUTE_CHANGES = 20;
/** Sidecars that read nothing, of each process of the fleet. */
const SLOW_EACH = 5;
const SLOW_CHANGE_EVERY_MS = 500;
/** Of what a failure says. */
const REASON_CHARS = 60;
const CSR = { requests: 1_000, parallel: 16 } as const;

/** Readiness of a Service's first endpoint, back and forth: each change is a new version of its endpoints. */
class Edits {
  readonly #stage: Stage;
  readonly #ready = new Set<number>();
  #seconds = 1;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  endpoints(service: number): void {
    const { api, size } = this.#stage.world;
    const ready = this.#ready.delete(service);
    if (!ready) this.#ready.add(service);
    api.put(KINDS.endpointSlice, sliceOf(service, ready, size));
  }

  route(): void {
    this.#seconds = (this.#seconds % 50) + 1;
    this.#stage.world.api.put(KINDS.httpRoute, routeOf(POPULAR, this.#seconds));
  }

  /** Times from a change to each sidecar that it concerns, in milliseconds. */
  async reach(service: number, type: typeof TYPE.endpoints | typeof TYPE.route): Promise<readonly number[]> {
    const { fleet } = this.#stage;
    const destination = destinationOf(service);
    const name = type === TYPE.route ? destination : clusterOf(destination);
    await fleet.ask('expect', { type, name });
    const startMs = nowMs();
    if (type === TYPE.route) this.route();
    else this.endpoints(service);
    const arrivals = await fleet.ask('arrivals', null);
    return arrivals.flat().map((atMs) => atMs - startMs);
  }
}

/** Measures everything, one part after the other, and says each figure when it is there. */
export async function measure(stage: Stage, say: (line: string) => void): Promise<Figures> {
  const run = new Run(stage, say);
  await run.connect();
  await run.change();
  if (stage.slowSeconds > 0) await run.besideSlowOnes();
  await run.restart();
  await run.certificates(false);
  await run.certificates(true);
  run.note('memory at the end', memoryOf(stage.controlPlane.pid));
  return run.figures;
}

class Run {
  readonly figures: Figures = {};
  readonly #stage: Stage;
  readonly #say: (line: string) => void;
  readonly #edits: Edits;

  constructor(stage: Stage, say: (line: string) => void) {
    this.#stage = stage;
    this.#say = say;
    this.#edits = new Edits(stage);
  }

  note(name: string, value: Figures[string]): void {
    this.figures[name] = value;
    this.#say(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  }

  async connect(): Promise<void> {
    const { world, fleet, controlPlane } = this.#stage;
    this.note('ready after, ms', round(controlPlane.readyMs));
    await wait(SETTLE_MS);
    this.note('memory idle', this.#memory());
    await fleet.ask('start', (part, parts) => ({
      ...{ controlPlane: `127.0.0.1:${controlPlane.xdsPort}`, rootPem: world.rootPem },
      sidecars: world.specs.filter((_, index) => index % parts === part),
    }));
    let connected: readonly number[] = [];
    const cost = await this.#cost(async () => {
      connected = (await fleet.ask('connect', null)).flat();
    });
    this.note('all connect at once, ms until configured', latencyOf(connected));
    this.note('all connect at once, cost', cost);
    await wait(SETTLE_MS);
    this.note('memory connected', this.#memory());
  }

  async change(): Promise<void> {
    const { changes } = this.#stage;
    const edits = this.#edits;
    await this.#series('endpoint change', Math.min(200, changes), (index) =>
      edits.reach(this.#ordinary(index), TYPE.endpoints),
    );
    await this.#series('endpoint change that concerns all', POPULAR_CHANGES, () =>
      edits.reach(POPULAR, TYPE.endpoints),
    );
    await this.#series('route change that concerns all', ROUTE_CHANGES, () =>
      edits.reach(POPULAR, TYPE.route),
    );
    this.note('memory before many changes', this.#memory());
    const many = await this.#cost(async () => {
      for (let index = 0; index < changes; index++) {
        edits.endpoints(this.#ordinary(index));
        await wait(CHANGE_EVERY_MS / 2);
      }
      await wait(SETTLE_MS);
    });
    this.note(`${changes} endpoint changes, cost`, many);
    this.note('memory after many changes', this.#memory());
  }

  async besideSlowOnes(): Promise<void> {
    const { fleet, slowSeconds } = this.#stage;
    await fleet.ask('hold', { count: SLOW_EACH });
    const before = this.#memory().rssMb;
    const endMs = nowMs() + slowSeconds * 1_000;
    const times: number[] = [];
    let changes = 0;
    // An even number of changes would lead back to where they began.
    while (nowMs() < endMs || changes % 2 === 0) {
      times.push(...(await this.#edits.reach(POPULAR, TYPE.endpoints)));
      changes++;
      await wait(SLOW_CHANGE_EVERY_MS);
    }
    this.note(`endpoint change beside sidecars that read nothing for ${slowSeconds} s, ms`, latencyOf(times));
    this.note('memory grown meanwhile, MiB', this.#memory().rssMb - before);
    const got = (await fleet.ask('release', null)).flat();
    this.note('changes meanwhile', changes);
    this.note('responses that a slow sidecar got, at most', Math.max(...got));
  }

  async restart(): Promise<void> {
    const what = 'control plane killed and started';
    const sinceMs = nowMs();
    await this.#stage.replace();
    const back = await this.#stage.fleet.ask('configured', { sinceMs });
    const times = back.flatMap(({ atMs }) => atMs).map((atMs) => atMs - sinceMs);
    this.note(`${what}: ready after, ms`, round(this.#stage.controlPlane.readyMs));
    this.note(`${what}: ms until configured again`, latencyOf(times));
    this.note(`${what}: memory`, this.#memory());
    const failures: Record<string, number> = {};
    for (const [reason, count] of back.flatMap((part) => Object.entries(part.failures))) {
      const short = reason.slice(0, REASON_CHARS);
      failures[short] = (failures[short] ?? 0) + count;
    }
    this.note(`${what}: streams that failed`, failures);
  }

  async certificates(fresh: boolean): Promise<void> {
    const what = fresh ? 'certificates, a connection each' : 'certificates, connections kept';
    let tookMs = 0;
    let issued = 0;
    const cost = await this.#cost(async () => {
      const outcomes = await this.#stage.fleet.ask('certificates', (_part, parts) => ({
        ...{ fresh, requests: Math.floor(CSR.requests / parts), parallel: CSR.parallel },
      }));
      for (const outcome of outcomes) {
        issued += outcome.issued;
        tookMs = Math.max(tookMs, outcome.tookMs);
        if (outcome.failures.length > 0) this.#say(`${what}: ${outcome.failures.join('; ')}`);
      }
    });
    this.note(`${what}, issued`, issued);
    this.note(`${what}, per second`, round((issued / tookMs) * 1_000));
    this.note(`${what}, cost`, cost);
    this.note(`${what}, per second of CPU`, round((issued / cost.cpuMs) * 1_000));
  }

  async #series(
    what: string,
    count: number,
    one: (index: number) => Promise<readonly number[]>,
  ): Promise<void> {
    const times: number[] = [];
    const cost = await this.#cost(async () => {
      for (let index = 0; index < count; index++) {
        times.push(...(await one(index)));
        await wait(CHANGE_EVERY_MS);
      }
    });
    this.note(`${what}, ms`, latencyOf(times));
    this.note(`${what}, cost`, cost);
    this.note(`${what}, CPU ms each`, round(cost.cpuMs / count));
  }

  /** A Service that only some use. */
  #ordinary(index: number): number {
    return 1 + (index % (this.#stage.world.size.services - 1));
  }

  #memory(): ReturnType<typeof memoryOf> {
    return memoryOf(this.#stage.controlPlane.pid);
  }

  #cost(work: () => Promise<void>): ReturnType<typeof costOf> {
    return costOf(this.#stage.controlPlane.pid, work);
  }
}
