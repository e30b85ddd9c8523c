import type { ResourceType } from '../../../common/wire/types.ts';
import type { SidecarSpec } from '../../support/simulated-sidecar.ts';

/** A sidecar, and what it asks for certificates with. */
export interface BenchSidecar extends SidecarSpec {
  readonly uri: string;
  readonly token: string;
}

/** How requests for certificates are sent. */
export interface CertificatePlan {
  readonly requests: number;
  /** So many at one time. */
  readonly parallel: number;
  /** Each over a connection of its own, as a sidecar's start has it; else on one that is kept. */
  readonly fresh: boolean;
}

export interface CertificateOutcome {
  readonly issued: number;
  readonly failures: readonly string[];
  readonly tookMs: number;
}

/** What a worker does, with what it is given and what it answers. Times are `nowMs` of any process of this machine. */
export interface Tasks {
  start: {
    readonly given: {
      readonly controlPlane: string;
      readonly rootPem: string;
      readonly sidecars: readonly BenchSidecar[];
    };
    readonly answer: null;
  };
  /** Connects all; answers when all are configured: how long each took, milliseconds. */
  connect: { readonly given: null; readonly answer: readonly number[] };
  /** From now on, notes when each sidecar that holds the resource gets its next version. Answers how many do. */
  expect: { readonly given: { readonly type: ResourceType; readonly name: string }; readonly answer: number };
  /** When all that `expect` counted have it: the times. */
  arrivals: { readonly given: null; readonly answer: readonly number[] };
  /** So many sidecars, the first ones, read nothing from now on, and aren't waited for. */
  hold: { readonly given: { readonly count: number }; readonly answer: null };
  /** They read again; answers when each has the versions that the others have: how many responses each got. */
  release: { readonly given: null; readonly answer: readonly number[] };
  /** When all are configured by a stream that is newer than `sinceMs`. */
  configured: { readonly given: { readonly sinceMs: number }; readonly answer: Reconnection };
  certificates: { readonly given: CertificatePlan; readonly answer: CertificateOutcome };
  stop: { readonly given: null; readonly answer: null };
}

export interface Reconnection {
  /** When each sidecar was configured again. */
  readonly atMs: readonly number[];
  /** Streams that failed meanwhile, by what they were told. */
  readonly failures: Readonly<Record<string, number>>;
}

export type TaskName = keyof Tasks;

export interface Call {
  readonly id: number;
  readonly task: TaskName;
  readonly given: unknown;
}

export interface Reply {
  readonly id: number;
  readonly answer?: unknown;
  readonly error?: string;
}
