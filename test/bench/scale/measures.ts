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

export async function measure(stage: Stage, say: (line: string) => void): Promise<Figures> {
  const figures: Figures = {};
  const note = (name: string, value: Figures[string]) => {
    figures[name] = value;
    say(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  };
  const edits = new Edits(stage);
  const { world, fleet } = stage;
  const pid = () => stage.controlPlane.pid;
  const half = (part: number, parts: number) => world.specs.filter((_, index) => index % parts === part);

  note('ready after, ms', round(stage.controlPlane.readyMs));
  await wait(SETTLE_MS);
  note('memory idle', memoryOf(pid()));

  await fleet.ask('start', (part, parts) => ({
    ...{ controlPlane: `127.0.0.1:${stage.controlPlane.xdsPort}`, rootPem: world.rootPem },
    sidecars: half(part, parts),
  }));
  let connected: readonly number[] = [];
  const connecting = await costOf(pid(), async () => {
    connected = (await fleet.ask('connect', null)).flat();
  });
  note('all connect at once, ms until configured', latencyOf(connected));
  note('all connect at once, cost', connecting);
  await wait(SETTLE_MS);
  note('memory connected', memoryOf(pid()));

  await series('endpoint change', Math.min(200, stage.changes), (index) =>
    edits.reach(1 + (index % (world.size.services - 1)), TYPE.endpoints),
  );
  await series('endpoint change that concerns all', POPULAR_CHANGES, () =>
    edits.reach(POPULAR, TYPE.endpoints),
  );
  await series('route change that concerns all', ROUTE_CHANGES, () => edits.reach(POPULAR, TYPE.route));

  note('memory before many changes', memoryOf(pid()));
  const many = await costOf(pid(), async () => {
    for (let change = 0; change < stage.changes; change++) {
      edits.endpoints(1 + (change % (world.size.services - 1)));
      await wait(CHANGE_EVERY_MS / 2);
    }
    await wait(SETTLE_MS);
  });
  note(`${stage.changes} endpoint changes, cost`, many);
  note('memory after many changes', memoryOf(pid()));

  if (stage.slowSeconds > 0) await slow();
  await restart();
  await certificates(false);
  await certificates(true);
  note('memory at the end', memoryOf(pid()));
  return figures;

  async function series(what: string, count: number, one: (index: number) => Promise<readonly number[]>) {
    const times: number[] = [];
    const cost = await costOf(pid(), async () => {
      for (let index = 0; index < count; index++) {
        times.push(...(await one(index)));
        await wait(CHANGE_EVERY_MS);
      }
    });
    note(`${what}, ms`, latencyOf(times));
    note(`${what}, cost`, cost);
    note(`${what}, CPU ms each`, round(cost.cpuMs / count));
  }

  async function slow() {
    await fleet.ask('hold', { count: SLOW_EACH });
    const before = memoryOf(pid()).rssMb;
    const endMs = nowMs() + stage.slowSeconds * 1_000;
    const times: number[] = [];
    let changes = 0;
    // An even number of changes would lead back to where they began.
    while (nowMs() < endMs || changes % 2 === 0) {
      times.push(...(await edits.reach(POPULAR, TYPE.endpoints)));
      changes++;
      await wait(SLOW_CHANGE_EVERY_MS);
    }
    note(
      `endpoint change beside sidecars that read nothing for ${stage.slowSeconds} s, ms`,
      latencyOf(times),
    );
    note('memory grown meanwhile, MiB', memoryOf(pid()).rssMb - before);
    const got = (await fleet.ask('release', null)).flat();
    note('changes meanwhile', changes);
    note('responses that a slow sidecar got of them, at most', Math.max(...got));
  }

  async function restart() {
    const sinceMs = nowMs();
    await stage.replace();
    const back = await fleet.ask('configured', { sinceMs });
    const times = back.flatMap(({ atMs }) => atMs).map((atMs) => atMs - sinceMs);
    note('control plane killed and started: ready after, ms', round(stage.controlPlane.readyMs));
    note('control plane killed and started: ms until configured again', latencyOf(times));
    const whole = await costOf(pid(), () => Promise.resolve());
    note('control plane killed and started: load', whole.load);
    note('control plane killed and started: memory', memoryOf(pid()));
    const failures: Record<string, number> = {};
    for (const part of back) {
      for (const [reason, count] of Object.entries(part.failures))
        failures[reason.slice(0, 60)] = (failures[reason.slice(0, 60)] ?? 0) + count;
    }
    note('control plane killed and started: streams that failed', failures);
  }

  async function certificates(fresh: boolean) {
    const what = fresh ? 'certificates, a connection each' : 'certificates, connections kept';
    let rate = 0;
    let issued = 0;
    const cost = await costOf(pid(), async () => {
      const outcomes = await fleet.ask('certificates', (_part, parts) => ({
        ...{ fresh, requests: Math.floor(CSR.requests / parts), parallel: CSR.parallel },
      }));
      issued = outcomes.reduce((sum, one) => sum + one.issued, 0);
      rate = issued / (Math.max(...outcomes.map(({ tookMs }) => tookMs)) / 1_000);
      for (const { failures } of outcomes) if (failures.length > 0) say(`${what}: ${failures.join('; ')}`);
    });
    note(`${what}, issued`, issued);
    note(`${what}, per second`, round(rate));
    note(`${what}, cost`, cost);
    note(`${what}, per second of CPU`, round((issued / cost.cpuMs) * 1_000));
  }
}
