import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import { type Cause, type GraphWindow, graphOf, type ServiceGraph } from './graph.ts';
import { hasError, mergeTexts, mergeTraces, newest } from './merge.ts';
import type { TraceQuery } from './queries.ts';
import type { StoredTraces } from './questions.ts';
import type { TraceReader } from './reader.ts';
import type { SpanRecord } from './span.ts';
import type { TraceCounters } from './store.ts';

/** Another replica of the control plane, which keeps the spans that were sent to it. */
export interface Sibling {
  /** Its pod's name. */
  readonly name: string;
  readonly traces: StoredTraces;
}

/** A replica whose traces an answer lacks. */
export interface MissingTraces {
  readonly replica: string;
  /** Why, for people. */
  readonly message: string;
}

/** What all replicas know together, as far as they could be asked. */
export interface Answer<T> {
  readonly value: T;
  readonly missing: readonly MissingTraces[];
}

/** The traces of the whole mesh, whichever replica a sidecar sent its spans to. */
export interface MeshTraces {
  services(): Promise<Answer<string[]>>;
  operations(service: string): Promise<Answer<{ name: string; spanKind: string }[]>>;
  /** Whole traces that have a span fitting the query, the newest first. */
  find(query: TraceQuery): Promise<Answer<SpanRecord[][]>>;
  /** Every span of each trace (32 hexadecimal digits), by start; empty where nobody knows it. */
  traces(traceIds: readonly string[]): Promise<Answer<SpanRecord[][]>>;
  graph(window: GraphWindow): Promise<Answer<ServiceGraph>>;
  /** Of this replica alone. */
  counters(): TraceCounters;
  /** Runs after there is more to see, of any replica. Siblings are looked at only while somebody listens. */
  onChange(listener: () => void): () => void;
}

/** How often siblings are asked whether they have more to show, while somebody watches. */
export const siblingsLookMs = 1_000;

export interface MeshTracesOptions {
  readonly own: TraceReader;
  /** The others as of now; none where this is the only replica, which then answers by itself. */
  readonly siblings: () => readonly Sibling[];
  readonly clock: Clock;
}

/** Answers by this replica's own store and by its siblings': one that gives no answer is named as missing. */
export function meshTraces(options: MeshTracesOptions): MeshTraces {
  const { own } = options;
  return {
    services: () => new Round(options).merged((store) => store.services(), mergeTexts),
    operations: (service) => new Round(options).merged((store) => store.operations(service), mergeOperations),
    find: (query) => find(new Round(options), own, query),
    traces(traceIds) {
      const inOrder = (lists: readonly (readonly SpanRecord[][])[]) => {
        const merged = mergeTraces(lists);
        return traceIds.map((id) => merged.get(id) ?? []);
      };
      return new Round(options).merged((store) => store.traces(traceIds), inOrder);
    },
    graph: (window) => graph(new Round(options), own, window),
    counters: () => own.counters(),
    onChange: watcher(options),
  };
}

/** One question to everybody. Who doesn't answer its first part isn't asked for the second. */
class Round {
  readonly #own: StoredTraces;
  readonly #missing: MissingTraces[] = [];
  #siblings: readonly Sibling[];

  constructor({ own, siblings }: MeshTracesOptions) {
    this.#own = own;
    this.#siblings = siblings();
  }

  alone(): boolean {
    return this.#siblings.length === 0;
  }

  answer<T>(value: T): Answer<T> {
    return { value, missing: this.#missing };
  }

  /** What each has to say. Rejects where this replica's own store fails. */
  async all<T>(ask: (store: StoredTraces) => Promise<T>): Promise<ReadonlyMap<StoredTraces, T>> {
    const answers = new Map<StoredTraces, T>();
    const asked = this.#siblings.map(async (sibling) => {
      try {
        answers.set(sibling.traces, await ask(sibling.traces));
      } catch (thrown) {
        this.#missing.push({ replica: sibling.name, message: messageOf(thrown) });
        this.#siblings = this.#siblings.filter((other) => other !== sibling);
      }
    });
    const [value] = await Promise.all([ask(this.#own), ...asked]);
    answers.set(this.#own, value);
    return answers;
  }

  async merged<T>(
    ask: (store: StoredTraces) => Promise<T>,
    merge: (answers: readonly T[]) => T,
  ): Promise<Answer<T>> {
    if (this.alone()) return this.answer(await ask(this.#own));
    const answers = [...(await this.all(ask)).values()];
    return this.answer(merge(answers));
  }
}

function mergeOperations(
  lists: readonly { name: string; spanKind: string }[][],
): { name: string; spanKind: string }[] {
  const keys = mergeTexts(
    lists.map((list) => list.map(({ name, spanKind }) => JSON.stringify([name, spanKind]))),
  );
  return keys.map((key) => {
    const [name = '', spanKind = ''] = JSON.parse(key) as string[];
    return { name, spanKind };
  });
}

/** A replica finds a trace by the spans that it has; then everybody is asked for the rest of it. */
async function find(round: Round, own: TraceReader, query: TraceQuery): Promise<Answer<SpanRecord[][]>> {
  if (round.alone()) return round.answer(await own.find(query));
  const found = await round.all((store) => store.find(query));
  const candidates = mergeTraces([...found.values()]);
  // Which of them have errors is known of the whole trace only: none is left out before.
  const limit = query.errorsOnly === true ? candidates.size : query.limit;
  const ids = newest(candidates.values(), limit).map((spans) => spans[0]?.traceId ?? '');
  const rest = await round.all(async (store) => {
    const has = new Set(found.get(store)?.map((spans) => spans[0]?.traceId));
    const wanted = ids.filter((id) => !has.has(id));
    return wanted.length === 0 ? [] : store.traces(wanted);
  });
  const whole = mergeTraces([...found.values(), ...rest.values()]);
  const traces = ids.map((id) => whole.get(id) ?? []);
  const wanted = query.errorsOnly === true ? traces.filter((spans) => hasError(spans, query)) : traces;
  return round.answer(newest(wanted, query.limit));
}

/** A request is served by one sidecar and sent by another, which may tell two replicas of it. */
async function graph(round: Round, own: TraceReader, window: GraphWindow): Promise<Answer<ServiceGraph>> {
  if (round.alone()) return round.answer(await own.graph(window));
  const calls = await round.all((store) => store.calls(window));
  const causes = new Map<string, Cause>();
  await round.all(async (store) => {
    for (const [other, { orphans }] of calls) {
      const spans = other === store ? [] : [...new Set(orphans.map(({ cause }) => cause))];
      const known = spans.length === 0 ? [] : await store.causes(spans);
      for (const [index, cause] of known.entries()) {
        if (cause !== null) causes.set(spans[index] ?? '', cause);
      }
    }
  });
  return round.answer(graphOf([...calls.values()], causes));
}

/** Tells listeners of changes: those of the own store at once where it is the only one, else what a look has found. */
function watcher({ own, siblings, clock }: MeshTracesOptions): MeshTraces['onChange'] {
  const listeners = new Set<() => void>();
  let stopOwn: (() => void) | undefined;
  let timer: Timer | undefined;
  let looking = false;
  let ownChanged = false;
  let seen = '[]';
  const tell = () => {
    for (const listener of [...listeners]) listener();
  };
  const look = async () => {
    if (looking) return;
    looking = true;
    const states = await Promise.all(
      siblings().map(async ({ name, traces }) => {
        const state = await traces.stored().catch((thrown: unknown) => messageOf(thrown));
        return `${name} ${state}`;
      }),
    );
    looking = false;
    const now = JSON.stringify(states);
    if (now === seen && !ownChanged) return;
    [seen, ownChanged] = [now, false];
    tell();
  };
  return (listener) => {
    listeners.add(listener);
    if (listeners.size === 1) {
      stopOwn = own.onChange(() => {
        if (siblings().length === 0) tell();
        else ownChanged = true;
      });
      timer = clock.every(siblingsLookMs, () => void look());
    }
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      stopOwn?.();
      timer?.cancel();
    };
  };
}
