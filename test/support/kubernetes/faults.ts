import type { Random } from '../../../common/random.ts';

/** What may happen to one answer of the fake API server. */
export type RequestFault =
  | 'unreachable'
  | 'hanging'
  | 'busy'
  | 'broken'
  | 'starting'
  | 'gone'
  | 'page-expired';

/** What may happen to one event on its way. */
export type EventFault =
  | 'repeated'
  | 'swapped'
  | 'cut-in-line'
  | 'ended'
  | 'silent'
  | 'garbage'
  | 'gone'
  | 'lost-then-gone'
  | 'lost';

/** Draws faults. Told nothing, none happen. */
export interface Faults {
  request(isWatch: boolean): RequestFault | undefined;
  event(): EventFault | undefined;
}

export const NO_FAULTS: Faults = { request: () => undefined, event: () => undefined };

const REQUEST_FAULTS: readonly RequestFault[] = [
  ...(['unreachable', 'hanging', 'busy', 'broken', 'starting', 'gone', 'page-expired'] as const),
];
/** All that the stream itself gives away, at once or when it goes on. */
const TOLD_FAULTS: readonly EventFault[] = [
  ...([
    'repeated',
    'swapped',
    'cut-in-line',
    'ended',
    'silent',
    'garbage',
    'gone',
    'lost-then-gone',
  ] as const),
];

export interface FaultRates {
  /** Share of requests, 0 to 1. */
  readonly requests: number;
  /** Share of events. */
  readonly events: number;
  /** Whether events may get lost without a trace, too. */
  readonly losesSilently: boolean;
}

export function seededFaults(random: Random, { requests, events, losesSilently }: FaultRates): Faults {
  const draw = <T>(from: readonly T[]): T | undefined => from[Math.floor(random.next() * from.length)];
  const kinds = losesSilently ? [...TOLD_FAULTS, 'lost' as const] : TOLD_FAULTS;
  return {
    request: () => (random.next() < requests ? draw(REQUEST_FAULTS) : undefined),
    event: () => (random.next() < events ? draw(kinds) : undefined),
  };
}
