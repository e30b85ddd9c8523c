import type { MeshFailure } from '../../common/errors.ts';
import { messageOf } from '../../common/errors.ts';
import type { ByteStream, Dialer } from '../../common/net.ts';
import type { FailureCondition } from '../../model/decision-types.ts';
import { Deadline, type Deadlines } from '../http/deadlines.ts';
import type { Credentials } from '../stage.ts';
import { type MeshTlsTarget, meshTlsConnect } from '../tls/client.ts';
import type { ClientContexts } from '../tls/contexts.ts';

/** Where a connection goes, and what it must be before a byte of a request is written on it. */
export interface ConnectTarget {
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string;
  /** Mesh mTLS, or plain. */
  readonly tls: (MeshTlsTarget & { readonly credentials: Credentials }) | undefined;
  readonly connectMs: number;
}

export interface FailedAttempt {
  readonly failure: MeshFailure;
  readonly condition: FailureCondition;
  /** Nobody listens there, as the peer's own host said. */
  readonly refused: boolean;
}

export interface Connected {
  readonly stream: ByteStream;
  /** The SPIFFE ID that was verified, on mesh mTLS. */
  readonly peer: string | undefined;
}

/** A connection being made; `cancel` gives it up without a call back. */
export interface Connecting {
  cancel(): void;
}

export interface ConnectorDeps {
  readonly dialer: Dialer;
  readonly deadlines: Deadlines;
  readonly wallMs: () => number;
}

/**
 * Opens connections: TCP, then mesh mTLS where the target speaks it, within one connect timeout. Every failure here comes
 * before a request byte is written, so it is safe to try elsewhere whatever the method.
 */
export class Connector {
  readonly #deps: ConnectorDeps;
  readonly #contexts: ClientContexts;

  constructor(deps: ConnectorDeps, contexts: ClientContexts) {
    this.#deps = deps;
    this.#contexts = contexts;
  }

  /** Calls `done` exactly once, never before it returned, unless cancelled. */
  open(target: ConnectTarget, done: (result: Connected | FailedAttempt) => void): Connecting {
    const { dialer, deadlines, wallMs } = this.#deps;
    const stream = dialer.dial(target);
    let settled = false;
    const settle = (result: Connected | FailedAttempt) => {
      if (settled) return;
      settled = true;
      deadline.cancel();
      if ('failure' in result) stream.destroy();
      stream.off('error', onError);
      stream.on('error', ignore);
      done(result);
    };
    const deadline = new Deadline(() =>
      settle(failed('connect-timeout', `no connection within ${target.connectMs} ms`)),
    );
    const onError = (error: NodeJS.ErrnoException) =>
      settle(failed('connect-failure', messageOf(error), error.code === 'ECONNREFUSED'));
    stream.on('error', onError);
    stream.once('close', () => settle(failed('connect-failure', 'closed while connecting')));
    stream.once('connect', () => {
      stream.setNoDelay?.(true);
      if (settled) return;
      if (target.tls === undefined) {
        settle({ stream, peer: undefined });
        return;
      }
      meshTlsConnect(stream, target.tls.credentials, this.#contexts, target.tls, wallMs, (outcome) => {
        if (outcome.ok) settle({ stream: outcome.stream, peer: outcome.peer });
        else settle(failed(outcome.identity ? 'peer-identity' : 'connect-failure', outcome.message));
      });
    });
    deadlines.arm(deadline, target.connectMs);
    return {
      cancel: () => {
        if (settled) return;
        settled = true;
        deadline.cancel();
        stream.on('error', ignore);
        stream.destroy();
      },
    };
  }
}

function failed(
  code: 'connect-failure' | 'connect-timeout' | 'peer-identity',
  message: string,
  refused = false,
): FailedAttempt {
  return {
    failure: { code, source: 'upstream', retrySafety: 'always', message },
    condition: 'connect-failure',
    refused,
  };
}

/** The stream's end is known already; a late error of it changes nothing. */
function ignore(this: ByteStream): void {
  this.destroy();
}
