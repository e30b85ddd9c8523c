import { HeddleError } from '../../common/errors.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { at, listAt, numberAt, objectAt, textAt } from '../kube/fields.ts';
import { replicasOf } from './cluster-mesh.ts';
import { ask, type MeshApi } from './mesh.ts';
import type { Mesh } from './which.ts';

/** Who keeps traces: each control plane those spans that sidecars sent to it. */
export async function traceKeepers(mesh: Mesh): Promise<readonly MeshApi[]> {
  return mesh.kind === 'local' ? [mesh] : replicasOf(mesh);
}

/** The latest traces of all keepers, each once: a part of it may be with each. */
export async function latestTraces(
  keepers: readonly MeshApi[],
  query: URLSearchParams,
  limit: number,
): Promise<readonly JsonValue[]> {
  const lists = await Promise.all(keepers.map((keeper) => ask(keeper, `/api/heddle/traces?${query}`)));
  return mergeLists(
    lists.map((list) => listAt(list, 'items')),
    limit,
  );
}

/** One list of all: of a trace that is in several, the entry that knows the most spans. The latest first. */
function mergeLists(lists: readonly (readonly JsonValue[])[], limit: number): readonly JsonValue[] {
  const [only] = lists;
  if (only !== undefined && lists.length === 1) return only;
  const best = new Map<string, JsonValue>();
  for (const item of lists.flat()) {
    const id = textAt(item, 'traceId') ?? '';
    const known = best.get(id);
    if (known === undefined || spansOf(item) > spansOf(known)) best.set(id, item);
  }
  return [...best.values()].toSorted((a, b) => startOf(b) - startOf(a)).slice(0, limit);
}

function spansOf(item: JsonValue): number {
  return numberAt(item, 'spans') ?? 0;
}

function startOf(item: JsonValue): number {
  return numberAt(item, 'startUs') ?? 0;
}

/** A whole trace, as Jaeger's API gives it. Fails as a keeper does where none knows it. */
export async function wholeTrace(keepers: readonly MeshApi[], id: string): Promise<JsonValue> {
  const answers = await askAll(keepers, (keeper) => ask(keeper, `/api/traces/${id}`));
  const [first] = answers;
  return first !== undefined && answers.length === 1 ? first : mergeTraces(answers);
}

/** Parts of one trace as one: each span once, and each part's processes under names of their own. */
export function mergeTraces(answers: readonly JsonValue[]): JsonValue {
  const processes: Record<string, JsonValue | undefined> = {};
  const spans = new Map<string, JsonObject>();
  for (const [part, answer] of answers.entries()) {
    const trace = at(answer, 'data', 0);
    for (const [name, process] of Object.entries(objectAt(trace, 'processes')))
      processes[`${part}-${name}`] = process;
    for (const span of listAt(trace, 'spans')) {
      const id = textAt(span, 'spanID') ?? '';
      const processID = `${part}-${textAt(span, 'processID') ?? ''}`;
      if (!spans.has(id)) spans.set(id, { ...objectAt(span), processID });
    }
  }
  const traceID = textAt(answers[0], 'data', 0, 'traceID');
  return {
    data: [{ traceID, spans: [...spans.values()], processes }],
    total: 0,
    limit: 0,
    offset: 0,
    errors: null,
  };
}

/** The decisions of a trace, by the keeper that has the span which holds them. */
export async function explainedTrace(keepers: readonly MeshApi[], id: string): Promise<JsonValue> {
  const [first] = await askAll(keepers, (keeper) => ask(keeper, `/api/heddle/explain?trace=${id}`));
  return first ?? null;
}

/** The answers of those that have one; what a keeper failed with where none has. */
async function askAll(
  keepers: readonly MeshApi[],
  question: (keeper: MeshApi) => Promise<JsonValue>,
): Promise<readonly JsonValue[]> {
  const settled = await Promise.allSettled(keepers.map(question));
  const answers = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  if (answers.length > 0) return answers;
  const failures = settled.flatMap((one): readonly unknown[] =>
    one.status === 'rejected' ? [one.reason] : [],
  );
  // One that couldn't be asked may have it.
  const unreachable = failures.find((one) => one instanceof HeddleError && one.code === 'unreachable');
  throw unreachable ?? failures[0] ?? new HeddleError('unreachable', 'no control plane to ask');
}
