// A process full of simulated sidecars, told what to do by `fleet.ts`.
import type { ResourceType } from '../../../common/wire/types.ts';
import { nowMs, SimulatedSidecar } from '../../support/simulated-sidecar.ts';
import { eventually } from '../../support/wait.ts';
import { requestCertificates } from './certificate-requests.ts';
import type { BenchSidecar, Call, Reply, TaskName, Tasks } from './messages.ts';

/** However busy the machine is. */
const DEADLINE_MS = 180_000;

interface Expectation {
  readonly type: ResourceType;
  readonly name: string;
  readonly wanted: Set<SimulatedSidecar>;
  readonly atMs: number[];
}

let sidecars: readonly SimulatedSidecar[] = [];
let specs: readonly BenchSidecar[] = [];
let controlPlane = '';
let rootPem = '';
let expectation: Expectation | undefined;
let failures: Record<string, number> = {};
const held = new Map<SimulatedSidecar, number>();

function onResource(sidecar: SimulatedSidecar, type: ResourceType, name: string): void {
  if (expectation?.name !== name || expectation.type !== type || !expectation.wanted.delete(sidecar)) return;
  expectation.atMs.push(nowMs());
}

const all = (check: (sidecar: SimulatedSidecar) => boolean, what: string) =>
  eventually(() => sidecars.every(check), { deadlineMs: DEADLINE_MS, what }).catch((thrown: unknown) => {
    const missing = sidecars.filter((sidecar) => !check(sidecar)).length;
    throw new Error(`${String(thrown)}: ${missing} are missing; ${JSON.stringify(failures)}`);
  });

const TASKS: {
  readonly [Name in TaskName]: (
    given: Tasks[Name]['given'],
  ) => Tasks[Name]['answer'] | Promise<Tasks[Name]['answer']>;
} = {
  start(given) {
    ({ controlPlane, rootPem, sidecars: specs } = given);
    sidecars = specs.map(
      (spec) =>
        new SimulatedSidecar(spec, {
          ...{ controlPlane, rootPem, onResource },
          onFailure(reason) {
            failures[reason] = (failures[reason] ?? 0) + 1;
          },
        }),
    );
    return null;
  },
  async connect() {
    const startMs = nowMs();
    for (const sidecar of sidecars) sidecar.connect();
    await all(({ configuredAtMs }) => configuredAtMs !== undefined, 'all sidecars are configured');
    return sidecars.map(({ configuredAtMs = 0 }) => configuredAtMs - startMs);
  },
  expect({ type, name }) {
    const wanted = sidecars.filter(
      (sidecar) => !held.has(sidecar) && sidecar.version(type, name) !== undefined,
    );
    expectation = { type, name, wanted: new Set(wanted), atMs: [] };
    return wanted.length;
  },
  async arrivals() {
    const expected = expectation;
    if (expected === undefined) throw new Error('nothing is expected');
    await eventually(() => expected.wanted.size === 0, {
      ...{ deadlineMs: DEADLINE_MS, what: `a new ${expected.name} is everywhere` },
    });
    return expected.atMs;
  },
  hold({ count }) {
    for (const sidecar of sidecars.slice(0, count)) {
      sidecar.hold();
      held.set(sidecar, sidecar.responses);
    }
    return null;
  },
  async release() {
    const expected = expectation;
    const [reference] = sidecars.filter((sidecar) => !held.has(sidecar));
    if (expected === undefined || reference === undefined)
      throw new Error('there is nothing to compare with');
    const { type, name } = expected;
    for (const sidecar of held.keys()) sidecar.release();
    await all((sidecar) => sidecar.version(type, name) === reference.version(type, name), 'all catch up');
    const got = [...held].map(([sidecar, before]) => sidecar.responses - before);
    held.clear();
    return got;
  },
  async configured({ sinceMs }) {
    await all(
      ({ connectedAtMs, configuredAtMs }) => connectedAtMs > sinceMs && configuredAtMs !== undefined,
      'all sidecars are configured again',
    );
    const seen = failures;
    failures = {};
    return { atMs: sidecars.map(({ configuredAtMs = 0 }) => configuredAtMs), failures: seen };
  },
  certificates: (plan) => requestCertificates(plan, { controlPlane, rootPem, specs }),
  stop() {
    for (const sidecar of sidecars) sidecar.close();
    return null;
  },
};

process.on('message', ({ id, task, given }: Call) => {
  const reply = (answer: Omit<Reply, 'id'>) => process.send?.({ id, ...answer });
  // Who calls gives each task what is its own: `Fleet` has the types.
  const run = TASKS[task] as (given: unknown) => unknown;
  Promise.resolve()
    .then(() => run(given))
    .then(
      (answer) => reply({ answer }),
      (thrown: unknown) => reply({ error: String(thrown) }),
    );
});
process.on('disconnect', () => process.exit());
