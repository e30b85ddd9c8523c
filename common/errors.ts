import type { ReasonCode } from './reasons.ts';

/** Who caused a failure: the client side, the destination side, or the mesh's own rules and limits. */
export type FaultSource = 'downstream' | 'upstream' | 'mesh';

/**
 * Whether sending the request again could do harm: `always` when it provably never reached the app, `idempotent` when
 * the app may have seen it, `never` when the answer wouldn't change or the client is gone.
 */
export type RetrySafety = 'always' | 'idempotent' | 'never';

/** A failure as a value. Retry reads `retrySafety` only; people read `message`, which says what to do. */
export interface MeshFailure {
  readonly code: ReasonCode;
  readonly source: FaultSource;
  readonly retrySafety: RetrySafety;
  readonly message: string;
}

/** Why an exported operation could not be done, with a code a program can act on and a message a person can. */
export class HeddleError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'HeddleError';
    this.code = code;
  }
}

export type Result<T, E = HeddleError> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

/** The text of anything thrown, for a log line or a message. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
