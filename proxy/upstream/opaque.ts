import type { MeshFailure } from '../../common/errors.ts';
import type { ByteStream } from '../../common/net.ts';
import type { AttemptOutcome } from '../../model/decision-types.ts';
import type { Endpoint } from '../../model/snapshot.ts';
import { Fields } from '../codec/fields.ts';
import { RequestHead } from '../codec/request-head.ts';
import { Deadline } from '../http/deadlines.ts';
import type { ConnectionRouting, Forwarding } from '../http/exchange-stages.ts';
import { peek } from '../listener/peek.ts';
import type { PoolTarget } from '../pool/pool.ts';
import type { StackContext } from '../stack-context.ts';
import type { AttemptHandle } from '../stage.ts';
import { resetStream } from '../tls/reset.ts';
import type { Connected, FailedAttempt } from './connect.ts';
import { startTunnel } from './tunnel.ts';

export interface OpaqueStages {
  route(): ConnectionRouting | Promise<ConnectionRouting>;
  admit(
    forwarding: Forwarding,
    endpoint: Endpoint | undefined,
    isRetry: boolean,
  ):
    | { readonly ok: true; readonly value: AttemptHandle }
    | { readonly ok: false; readonly error: MeshFailure };
  target(forwarding: Forwarding, endpoint: Endpoint | undefined): PoolTarget | FailedAttempt;
}

/** Looks at what a client that was silent says at last, while its server may still speak first. */
export interface LateWords<Verdict> {
  readonly judge: (bytes: Buffer) => Verdict | undefined;
  readonly undecided: (bytes: Buffer) => Verdict;
  /** How long the rest of what has begun is waited for: the server may be waiting for just these bytes. */
  readonly begunMs: (bytes: Buffer) => number;
  /** Takes the client over, where what it said isn't opaque after all; false leaves it here. */
  readonly take: (verdict: Verdict) => boolean;
}

/** What `afterAttempt` reads of a connection that isn't a request. */
function connectionView(source: string | undefined): RequestHead {
  const view = new RequestHead('CONNECT', 1, new Fields(''));
  view.sourceAddress = source;
  return view;
}

/**
 * Carries one opaque connection: routed and connected once, to another endpoint where the first can't be reached, then
 * bytes both ways. A client that can't be served is reset, which is the only answer an unknown protocol has.
 */
export class OpaqueRelay<Verdict = never> {
  readonly #context: StackContext;
  readonly #stages: OpaqueStages;
  readonly #client: ByteStream;
  /** Bytes that were read and could not be put back, of a client that has finished sending. */
  readonly #first: Buffer | undefined;
  readonly #late: LateWords<Verdict> | undefined;
  readonly #tried: string[] = [];
  readonly #timer: Deadline;
  #cancelDial: (() => void) | undefined;
  #next: (() => void) | undefined;
  #attempts = 0;
  #over = false;

  constructor(
    context: StackContext,
    stages: OpaqueStages,
    client: ByteStream,
    first: Buffer | undefined,
    late?: LateWords<Verdict>,
  ) {
    this.#late = late;
    this.#context = context;
    this.#stages = stages;
    this.#client = client;
    this.#first = first;
    this.#timer = new Deadline(() => this.#next?.());
  }

  start(): void {
    this.#context.opened();
    this.#client.pause();
    this.#client.on('error', this.#onClientGone);
    this.#client.on('close', this.#onClientGone);
    const routing = this.#stages.route();
    if (routing instanceof Promise) routing.then((found) => this.#routed(found));
    else this.#routed(routing);
  }

  #routed(routing: ConnectionRouting): void {
    if (this.#over) return;
    if (routing.kind === 'answer') this.#refuse(routing.failure);
    else this.#attempt(routing, routing.endpoint, false);
  }

  #attempt(forwarding: Forwarding, endpoint: Endpoint | undefined, isRetry: boolean): void {
    if (this.#over) return;
    this.#attempts++;
    if (endpoint !== undefined) this.#tried.push(endpoint.key);
    const admitted = this.#stages.admit(forwarding, endpoint, isRetry);
    if (!admitted.ok) {
      this.#refuse(admitted.error);
      return;
    }
    const handle = admitted.value;
    const target = this.#stages.target(forwarding, endpoint);
    if ('failure' in target) {
      this.#failed(forwarding, handle, target);
      return;
    }
    let answered = false;
    const dial = this.#context.pool.openTunnel(target, (result) => {
      answered = true;
      this.#cancelDial = undefined;
      if ('failure' in result) this.#failed(forwarding, handle, result);
      else this.#connected(result, handle, release);
    });
    const { release } = dial;
    if (answered || this.#over) return;
    this.#cancelDial = () => {
      dial.cancel();
      handle.settle(gone());
      handle.finish();
    };
  }

  #failed(forwarding: Forwarding, handle: AttemptHandle, result: FailedAttempt): void {
    const outcome: AttemptOutcome = {
      kind: 'failure',
      failure: result.failure,
      condition: result.condition,
    };
    handle.settle(outcome);
    handle.finish();
    const { deps, deadlines, decisions } = this.#context;
    if (forwarding.decision === undefined || this.#over) {
      this.#refuse(result.failure);
      return;
    }
    const next = decisions.afterAttempt(
      forwarding.decision,
      outcome,
      {
        attempts: this.#attempts,
        tried: this.#tried,
        bodyReplayable: true,
        responseStarted: false,
        incomingAttempt: 1,
        remainingMs: undefined,
      },
      connectionView(this.#client.remoteAddress),
      deps.policy,
      deadlines.now(),
      deps.random,
    );
    if (next.kind === 'give-up') {
      this.#refuse(result.failure);
      return;
    }
    this.#next = () => this.#attempt(forwarding, next.endpoint, true);
    deadlines.arm(this.#timer, next.delayMs);
  }

  #connected(result: Connected, handle: AttemptHandle, release: () => void): void {
    const { stream } = result;
    handle.settle({ kind: 'response', status: 200, appRefused: false });
    this.#client.off('error', this.#onClientGone);
    this.#client.off('close', this.#onClientGone);
    const done = () => {
      handle.finish();
      release();
      this.#finish();
    };
    // Of a client that has finished, no late words come.
    const late = this.#client.readableEnded ? undefined : this.#late;
    if (late === undefined) this.#tunnel(stream, this.#first, done);
    else this.#awaitWords(stream, late, done);
  }

  /** First bytes from either side decide what this connection is. */
  #awaitWords(stream: ByteStream, late: LateWords<Verdict>, done: () => void): void {
    const client = this.#client;
    const { deadlines, limits } = this.#context;
    const common = { timeoutMs: limits.tunnelIdleMs, bytesMax: limits.helloBytesMax };
    const gone = () => {
      settle();
      fromClient.cancel();
      fromServer.cancel();
      resetStream(client);
      resetStream(stream);
      done();
    };
    const settle = () => {
      client.off('close', gone);
      stream.off('close', gone);
    };
    const fromServer = peek(
      stream,
      deadlines,
      { ...common, judge: () => 'spoke', undecided: () => 'spoke' },
      (_spoke, ended) => {
        settle();
        fromClient.cancel();
        if (ended !== undefined) client.write(ended);
        this.#tunnel(stream, undefined, done);
      },
    );
    const fromClient = peek(client, deadlines, { ...common, ...late }, (verdict, ended) => {
      settle();
      fromServer.cancel();
      if (ended === undefined && late.take(verdict)) {
        stream.on('error', () => stream.destroy());
        stream.destroy();
        done();
      } else {
        this.#tunnel(stream, ended, done);
      }
    });
    client.on('error', () => client.destroy());
    client.once('close', gone);
    stream.once('close', gone);
  }

  #tunnel(stream: ByteStream, first: Buffer | undefined, done: () => void): void {
    if (first !== undefined) stream.write(first);
    startTunnel(this.#client, stream, this.#context.deadlines, this.#context.limits, done);
  }

  #refuse(failure: MeshFailure): void {
    if (this.#over) return;
    this.#context.deps.log.debug('an opaque connection was refused', {
      reason: failure.code,
      message: failure.message,
    });
    resetStream(this.#client);
    this.#finish();
  }

  readonly #onClientGone = (): void => {
    if (this.#over) return;
    this.#cancelDial?.();
    this.#finish();
  };

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    this.#context.closed();
  }
}

function gone(): AttemptOutcome {
  return {
    kind: 'failure',
    condition: 'other',
    failure: {
      code: 'downstream-reset',
      source: 'downstream',
      retrySafety: 'never',
      message: 'the client left before it was connected',
    },
  };
}
