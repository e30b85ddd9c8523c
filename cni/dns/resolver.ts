import packet from 'dns-packet';
import type { Clock } from '../../common/clock.ts';
import type { Random } from '../../common/random.ts';
import { type Answer, answer, minimalAny } from './answer.ts';
import type { Forwarder, ForwardOutcome } from './forward/forwarder.ts';
import { STALE_TTL_S } from './forward/limits.ts';
import type { DnsMetrics } from './metrics.ts';
import type { Zone } from './records.ts';
import { type ForeignMessage, replayMessage } from './wire/message.ts';
import { isWritableName } from './wire/names.ts';
import {
  CLASS_IN,
  EDNS_UDP_BYTES,
  FLAG,
  PLAIN_UDP_BYTES,
  RCODE,
  rcodeName,
  TCP_MESSAGE_BYTES_MAX,
  TYPE,
} from './wire/numbers.ts';
import { type Asked, type Query, type Question, readQuery } from './wire/query.ts';
import { plainQuestion } from './wire/question.ts';
import type { OwnRecord } from './wire/records.ts';
import { type Reply, writeReply } from './wire/reply.ts';

export type Way = 'udp' | 'tcp';

export interface ResolverDeps {
  /** The zone in force; read anew for each question. */
  zone(): Zone;
  /** Undefined: there is nobody to ask, so only the cluster's names are answered. */
  readonly forwarder: Forwarder | undefined;
  readonly random: Random;
  readonly clock: Clock;
  readonly metrics: DnsMetrics;
  /** Told of each name that is asked, so that our own probe is recognised when it comes back. True: it was one. */
  isOwnProbe?(name: string): boolean;
}

/** Types 128 to 255 are questions, not data (RFC 6895 section 3.1); zone transfers are refused, the others not built. */
const questionTypeMin = 128;
const questionTypeMax = 255;

/** Turns what a client sent into what it gets. `respond` is called once, or never for what may not be answered. */
export class Resolver {
  readonly #deps: ResolverDeps;

  constructor(deps: ResolverDeps) {
    this.#deps = deps;
  }

  handle(bytes: Buffer, client: string, way: Way, respond: (answer: Buffer) => void): void {
    const startMs = this.#deps.clock.now();
    const read = readQuery(bytes);
    const { metrics } = this.#deps;
    if (read.kind === 'dropped') {
      metrics.dropped.add(1, 'not-a-query');
      respond(NOTHING);
      return;
    }
    const finish = (kind: string, rcode: number, message: Buffer) => {
      metrics.answered(way, kind, rcodeName(rcode), (this.#deps.clock.now() - startMs) / 1000);
      respond(message);
    };
    if (read.kind === 'refused') {
      finish('refused', read.rcode, this.#write(read.asked, failure(read.rcode), way));
      return;
    }
    const { query } = read;
    const refusal = refusalOf(query.question);
    if (refusal !== undefined || this.#deps.isOwnProbe?.(query.question.name) === true) {
      const rcode = refusal ?? RCODE.REFUSED;
      finish('refused', rcode, this.#write(query, failure(rcode), way));
      return;
    }
    this.#answer(query, client, way, finish);
  }

  #answer(query: Query, client: string, way: Way, finish: Finish): void {
    const { name, type } = query.question;
    const found: Answer = answer(this.#deps.zone(), name, type);
    if (found.kind === 'reply') {
      finish('cluster', found.reply.rcode, this.#write(query, this.#rotated(found.reply), way));
      return;
    }
    if (found.kind === 'leads-out') {
      this.#follow(query, found.records, found.target, client, way, finish);
      return;
    }
    if (type === TYPE.ANY) {
      const reply = { ...failure(RCODE.NOERROR), answers: [minimalAny(name)] };
      finish('refused', RCODE.NOERROR, this.#write(query, reply, way));
      return;
    }
    const { forwarder } = this.#deps;
    // Not ours, and nobody may or wants to look it up.
    if (forwarder === undefined || (query.flags & FLAG.recursionDesired) === 0) {
      finish('refused', RCODE.REFUSED, this.#write(query, failure(RCODE.REFUSED), way));
      return;
    }
    forwarder.ask(query.question, optionsOf(query), client, (outcome) => {
      const message = this.#forwarded(query, outcome, way);
      finish(outcome.kind === 'answered' ? 'forwarded' : outcome.kind, (message[3] ?? 0) & 0xf, message);
    });
  }

  #forwarded(query: Query, outcome: ForwardOutcome, way: Way): Buffer {
    if (outcome.kind !== 'answered') return this.#write(query, failure(RCODE.SERVFAIL), way);
    const { message, ageS, stale } = outcome;
    const bytesMax = bytesMaxOf(query, way);
    return replayMessage(message, query, stale ? { bytesMax, ageS, ttlS: STALE_TTL_S } : { bytesMax, ageS });
  }

  /** An ExternalName's answer: our CNAME, and what upstream knows of its target (section 2.5). */
  #follow(
    query: Query,
    records: readonly OwnRecord[],
    target: string,
    client: string,
    way: Way,
    finish: Finish,
  ): void {
    const reply = { ...failure(RCODE.NOERROR), authoritative: true, answers: records };
    const { forwarder } = this.#deps;
    if (forwarder === undefined || (query.flags & FLAG.recursionDesired) === 0) {
      finish('cluster', RCODE.NOERROR, this.#write(query, reply, way));
      return;
    }
    const question = plainQuestion(target, query.question.type);
    forwarder.ask(question, optionsOf(query), client, (outcome) => {
      const rcode = outcome.kind === 'answered' ? outcome.message.rcode : RCODE.SERVFAIL;
      const more = outcome.kind === 'answered' ? readAnswers(outcome.message, outcome.ageS) : [];
      const whole = { ...reply, rcode, answers: [...records, ...more] };
      finish('forwarded', rcode, this.#write(query, whole, way));
    });
  }

  /** Clients that take the first address only are spread over all of them. */
  #rotated(reply: Reply): Reply {
    const { answers } = reply;
    const first = answers[0]?.type;
    if (answers.length < 2 || answers.some(({ type }) => type !== first)) return reply;
    const start = Math.floor(this.#deps.random.next() * answers.length);
    return { ...reply, answers: [...answers.slice(start), ...answers.slice(0, start)] };
  }

  #write(asked: Asked, reply: Reply, way: Way): Buffer {
    const recursionAvailable = this.#deps.forwarder !== undefined;
    return writeReply(asked, reply, { bytesMax: bytesMaxOf(asked, way), recursionAvailable });
  }
}

type Finish = (kind: string, rcode: number, message: Buffer) => void;

/** Stands for "no answer": servers send nothing for it. */
const NOTHING = Buffer.alloc(0);

function failure(rcode: number): Reply {
  return { rcode, authoritative: false, answers: [], authorities: [], additionals: [] };
}

function refusalOf({ type, dnsClass }: Question): number | undefined {
  if (type === TYPE.AXFR || type === TYPE.IXFR || dnsClass !== CLASS_IN) return RCODE.REFUSED;
  if (type === TYPE.ANY) return undefined;
  const isQuestionType = (type >= questionTypeMin && type <= questionTypeMax) || type === TYPE.OPT;
  return isQuestionType ? RCODE.NOTIMP : undefined;
}

function bytesMaxOf({ edns }: Asked, way: Way): number {
  if (way === 'tcp') return TCP_MESSAGE_BYTES_MAX;
  return Math.min(edns?.udpBytesMax ?? PLAIN_UDP_BYTES, EDNS_UDP_BYTES);
}

function optionsOf({ edns, flags }: Query) {
  return { dnssecOk: edns?.dnssecOk === true, checkingDisabled: (flags & FLAG.checkingDisabled) !== 0 };
}

/** The answers of a message as records to write anew; none where one of them can't be read, so that the client asks itself. */
function readAnswers(message: ForeignMessage, ageS: number): OwnRecord[] {
  try {
    const records: OwnRecord[] = [];
    const spans = message.records.filter(({ section }) => section === 'answer');
    for (const [index, one] of (packet.decode(withCounts(message)).answers ?? []).entries()) {
      const name = one.name.toLowerCase();
      const span = spans[index];
      if (span === undefined || !isWritableName(name) || !('data' in one)) return [];
      if (one.type === 'CNAME' && !isWritableName(one.data)) return [];
      const ttl = Math.max(0, span.ttlS - ageS);
      records.push({ name, type: span.type, ttl, typeName: one.type, data: one.data });
    }
    return records;
  } catch {
    return [];
  }
}

/** The message with its answers alone, for a decoder that goes by the counts. */
function withCounts(message: ForeignMessage): Buffer {
  const bytes = Buffer.from(message.bytes);
  bytes.writeUInt32BE(0, 8);
  return bytes;
}
