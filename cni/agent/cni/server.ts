import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import type { Clock } from '../../../common/clock.ts';
import { HeddleError, messageOf } from '../../../common/errors.ts';
import type { Logger } from '../../../common/log.ts';
import { listenAlone, type OwnSocket } from '../own-socket.ts';
import { asCniError, errorAnswer, versionAnswer } from './answers.ts';
import { type CniCall, readCall, versionOf } from './call.ts';
import { answerOnce, type CniConnection, type ConnectionLimits } from './connection.ts';
import { DeletedQueue, type QueuedDeletion } from './deleted.ts';
import { dispatch } from './dispatch.ts';
import type { CniFrame } from './frame.ts';
import { CNI_CODES, CniError, type CniHandler } from './handler.ts';
import { type LaneLimits, Lanes } from './lanes.ts';

export interface CniServerLimits extends LaneLimits, ConnectionLimits {
  /** A call that takes longer is answered with code 11; what it began runs on, and its container waits for it. */
  readonly callMs: number;
  readonly connectionsMax: number;
  /** Between looks at the deletions that were queued while no agent ran. */
  readonly deletedScanMs: number;
}

/** Shorter than the plugin's own patience (90 s), which is shorter than kubelet's (two minutes). */
export const CNI_SERVER_LIMITS: CniServerLimits = {
  runningCallsMax: 32,
  waitingCallsMax: 1024,
  callMs: 60_000,
  requestReadMs: 10_000,
  answerWriteMs: 10_000,
  connectionsMax: 2048,
  deletedScanMs: 10_000,
};

export interface CniServerOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  readonly handler: CniHandler;
  readonly clock: Clock;
  readonly log: Logger;
  /** Path of the node's own network namespace, which no pod may have; default: this process'. */
  readonly nodeNetns?: string | undefined;
  readonly limits?: CniServerLimits;
  /** Told of every call: its command, the code (0: done) and how long it took. */
  readonly observe?: (command: string, code: number, seconds: number) => void;
}

export interface CniServer {
  /** Resolves when the deletions that were queued before the start have been tried. */
  readonly caughtUp: Promise<void>;
  counts(): { readonly running: number; readonly waiting: number };
  /** Takes no more calls, lets those that run come to their end, and goes. */
  close(): Promise<void>;
}

/**
 * Answers heddle-cni on a Unix socket for root alone. It takes the place of a socket that an older agent left in one step.
 * Rejects with a `HeddleError` where the socket can't be made.
 */
export async function startCniServer(options: CniServerOptions): Promise<CniServer> {
  const serving = new Serving(options);
  await serving.listen();
  return serving;
}

class Serving implements CniServer {
  readonly #options: CniServerOptions;
  readonly #limits: CniServerLimits;
  readonly #lanes: Lanes;
  readonly #deleted: DeletedQueue;
  readonly #server: Server;
  readonly #connections = new Set<CniConnection>();
  readonly #scan: { cancel(): void };
  readonly #ending = new AbortController();
  #socket: OwnSocket | undefined;
  #scanning: Promise<void> = Promise.resolve();
  caughtUp: Promise<void> = Promise.resolve();

  constructor(options: CniServerOptions) {
    this.#options = options;
    this.#limits = options.limits ?? CNI_SERVER_LIMITS;
    this.#lanes = new Lanes(this.#limits);
    this.#deleted = new DeletedQueue(join(dirname(options.socket), 'deleted'), options.clock, options.log);
    this.#server = createServer((socket) => {
      const connection = answerOnce(socket, options.clock, this.#limits, (frame, gone) =>
        this.#answer(frame, gone),
      );
      this.#connections.add(connection);
      void connection.closed.then(() => this.#connections.delete(connection));
    });
    this.#server.maxConnections = this.#limits.connectionsMax;
    this.#scan = options.clock.every(this.#limits.deletedScanMs, () => this.#catchUp());
  }

  async listen(): Promise<void> {
    const { socket } = this.#options;
    try {
      this.#socket = await listenAlone(this.#server, socket);
    } catch (thrown) {
      this.#scan.cancel();
      this.#server.close();
      throw new HeddleError('cni-socket', `the CNI socket ${socket} can't be made: ${messageOf(thrown)}`, {
        cause: thrown,
      });
    }
    this.#catchUp();
    this.caughtUp = this.#scanning;
  }

  counts() {
    return this.#lanes.counts();
  }

  async close(): Promise<void> {
    this.#scan.cancel();
    this.#ending.abort();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#socket?.release();
    await this.#scanning;
    for (const connection of this.#connections) connection.endUnlessBusy();
    await closed;
  }

  async #answer(frame: CniFrame, gone: AbortSignal): Promise<Buffer> {
    const { clock, log, observe } = this.#options;
    const startMs = clock.now();
    const command = frame.variables.get('CNI_COMMAND') ?? '';
    let code = 0;
    try {
      return await this.#perform(readCall(frame), gone);
    } catch (thrown) {
      const error = asCniError(thrown);
      code = error.cniCode;
      log.warn('a CNI call failed', {
        command: command.slice(0, 16),
        container: frame.variables.get('CNI_CONTAINERID')?.slice(0, 80),
        code,
        error: error.message,
        details: error.details,
      });
      return errorAnswer(versionOf(frame), error);
    } finally {
      observe?.(command, code, (clock.now() - startMs) / 1000);
    }
  }

  async #perform(call: CniCall, gone: AbortSignal): Promise<Buffer> {
    const { handler, log, nodeNetns = '/proc/self/ns/net' } = this.#options;
    if (call.command === 'VERSION') return versionAnswer(call.version);
    if (call.command === 'GC' && call.valid === undefined)
      log.warn('GC without a list of valid attachments removes nothing', { network: call.network });
    return this.#withDeadline(async (signal) => {
      const waiting = AbortSignal.any([signal, gone, this.#ending.signal]);
      if (call.command === 'STATUS') return dispatch(handler, call, signal, nodeNetns);
      if (call.command === 'GC') {
        this.#catchUp();
        await this.#scanning;
        return this.#lanes.run(undefined, waiting, () => dispatch(handler, call, signal, nodeNetns));
      }
      return this.#lanes.run(call.containerId, waiting, async () => {
        const queued = this.#deleted.find(call);
        if (queued !== undefined && call.command === 'ADD') await this.#delete(queued, signal);
        const answer = await dispatch(handler, call, signal, nodeNetns);
        if (queued !== undefined && call.command === 'DEL') this.#deleted.done(queued);
        return answer;
      });
    });
  }

  async #withDeadline(perform: (signal: AbortSignal) => Promise<Buffer>): Promise<Buffer> {
    const { clock } = this.#options;
    const { callMs } = this.#limits;
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = clock.after(
      callMs,
      () => {
        reject(new CniError(CNI_CODES.tryAgainLater, `the agent needed longer than ${callMs} ms`));
        controller.abort();
      },
      { background: true },
    );
    try {
      return await Promise.race([perform(controller.signal), promise]);
    } finally {
      timer.cancel();
    }
  }

  /** Performs the deletions that came while nobody listened; one scan at a time. */
  #catchUp(): void {
    this.#scanning = this.#scanning.then(async () => {
      await Promise.all(
        this.#deleted.all().map(async (queued) => {
          try {
            await this.#lanes.run(queued.call.containerId, this.#ending.signal, async () => {
              // An ADD or DEL of the same attachment may have done it meanwhile.
              const still = this.#deleted.find(queued.call);
              if (still !== undefined) await this.#delete(still, this.#ending.signal);
            });
          } catch (thrown) {
            this.#options.log.warn('a queued deletion will be tried again', {
              container: queued.call.containerId,
              error: messageOf(thrown),
            });
          }
        }),
      );
    });
  }

  async #delete(queued: QueuedDeletion, signal: AbortSignal): Promise<void> {
    const { handler, nodeNetns = '' } = this.#options;
    await dispatch(handler, queued.call, signal, nodeNetns);
    this.#deleted.done(queued);
  }
}
