import type { Clock, Timer } from '../../../common/clock.ts';
import type { Random } from '../../../common/random.ts';
import {
  type ForeignMessage,
  type QuestionOptions,
  readForeignMessage,
  writeQuestion,
} from '../wire/message.ts';
import { RCODE } from '../wire/numbers.ts';
import type { Question } from '../wire/query.ts';
import type { ForwardLimits } from './limits.ts';
import type { Exchange, Transport } from './transport.ts';
import type { Upstream, Upstreams } from './upstreams.ts';

export interface FlightDeps {
  readonly upstreams: Upstreams;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: ForwardLimits;
  /** For metrics: what became of one attempt. */
  onAttempt(
    upstream: Upstream,
    outcome: 'answered' | 'refused' | 'silent' | 'failed' | 'false-message',
  ): void;
}

/** What an upstream answers when it, rather than the name, is to blame: the next one may know better. */
function isRefusal({ rcode }: ForeignMessage): boolean {
  return rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN;
}

/**
 * Asks upstreams for one question until one answers, one after the other; all that were asked may still answer until the flight
 * ends. `done` is called once, with undefined where none did in time.
 */
export class Flight {
  readonly #deps: FlightDeps;
  readonly #question: Question;
  readonly #options: QuestionOptions;
  readonly #done: (message: ForeignMessage | undefined) => void;
  readonly #exchanges = new Set<Exchange>();
  /** Upstreams in the order of attempts, each twice. */
  readonly #plan: Upstream[];
  readonly #refused = new Set<Upstream>();
  readonly #deadline: Timer;
  #patience: Timer | undefined;
  #refusal: ForeignMessage | undefined;
  #ended = false;

  constructor(
    question: Question,
    options: QuestionOptions,
    deps: FlightDeps,
    done: (message: ForeignMessage | undefined) => void,
  ) {
    this.#deps = deps;
    this.#question = question;
    this.#options = options;
    this.#done = done;
    const order = deps.upstreams.order();
    this.#plan = [...order, ...order].slice(0, deps.limits.attemptsMax);
    this.#deadline = deps.clock.after(deps.limits.flightMs, () => this.#end(this.#refusal));
  }

  start(): void {
    this.#next();
  }

  /** Gives up without an answer. */
  cancel(): void {
    this.#end(undefined);
  }

  #next(): void {
    if (this.#ended) return;
    this.#patience?.cancel();
    const upstream = this.#plan.splice(0, this.#plan.findIndex((one) => !this.#refused.has(one)) + 1).at(-1);
    if (upstream !== undefined && !this.#refused.has(upstream)) {
      this.#ask(upstream, 'udp');
    } else if (this.#exchanges.size === 0) this.#end(this.#refusal);
  }

  #ask(upstream: Upstream, way: 'udp' | 'tcp'): void {
    const { transport, clock, random, limits } = this.#deps;
    const id = Number.parseInt(random.hex(2), 16);
    let exchange: Exchange | undefined;
    const drop = () => {
      if (exchange === undefined) return;
      exchange.close();
      this.#exchanges.delete(exchange);
    };
    this.#patience?.cancel();
    this.#patience = clock.after(limits.attemptMs, () => {
      this.#deps.upstreams.failed(upstream);
      this.#deps.onAttempt(upstream, 'silent');
      this.#next();
    });
    exchange = transport[way](upstream, writeQuestion(id, this.#question, this.#options), {
      message: (bytes) => {
        if (this.#ended) return;
        const isOurs = bytes.length >= 2 && bytes.readUInt16BE(0) === id;
        const message = isOurs ? readForeignMessage(bytes, this.#question) : undefined;
        if (message === undefined) {
          // Forged, or the answer to nothing: the true one may still come.
          this.#deps.onAttempt(upstream, 'false-message');
          return;
        }
        drop();
        this.#heard(upstream, way, message);
      },
      failed: () => {
        if (this.#ended) return;
        drop();
        this.#deps.upstreams.failed(upstream);
        this.#deps.onAttempt(upstream, 'failed');
        this.#next();
      },
    });
    this.#exchanges.add(exchange);
  }

  #heard(upstream: Upstream, way: 'udp' | 'tcp', message: ForeignMessage): void {
    if (message.truncated && way === 'udp') {
      this.#ask(upstream, 'tcp');
      return;
    }
    this.#deps.upstreams.succeeded(upstream);
    if (!isRefusal(message)) {
      this.#deps.onAttempt(upstream, 'answered');
      this.#end(message);
      return;
    }
    this.#deps.onAttempt(upstream, 'refused');
    this.#refusal = message;
    this.#refused.add(upstream);
    this.#next();
  }

  #end(message: ForeignMessage | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#deadline.cancel();
    this.#patience?.cancel();
    for (const exchange of this.#exchanges) exchange.close();
    this.#exchanges.clear();
    this.#done(message);
  }
}
