import { skipName } from './names.ts';
import { FLAG, HEADER_BYTES, OPT_BYTES, RCODE, TCP_MESSAGE_BYTES_MAX, TYPE } from './numbers.ts';
import type { Asked, Question } from './query.ts';
import { writeOpt } from './reply.ts';

type Section = 'answer' | 'authority' | 'additional';
const SECTIONS: readonly Section[] = ['answer', 'authority', 'additional'];

interface RecordSpan {
  readonly section: Section;
  readonly type: number;
  readonly ttlOffset: number;
  readonly ttlS: number;
  readonly end: number;
}

/** Somebody else's answer, kept as its bytes: what we don't know passes unharmed. Its OPT record is gone. */
export interface ForeignMessage {
  readonly bytes: Buffer;
  readonly questionEnd: number;
  readonly rcode: number;
  readonly truncated: boolean;
  readonly records: readonly RecordSpan[];
}

/** Reads an answer to `question`; undefined where it is malformed or answers something else. Doesn't throw. */
export function readForeignMessage(bytes: Buffer, question: Question): ForeignMessage | undefined {
  const questionEnd = HEADER_BYTES + question.bytes.length;
  if (bytes.length < questionEnd) return undefined;
  const flags = bytes.readUInt16BE(2);
  const isAnswer = (flags & FLAG.response) !== 0 && (flags & 0x7800) === 0 && bytes.readUInt16BE(4) === 1;
  if (!isAnswer || !sameQuestion(bytes.subarray(HEADER_BYTES, questionEnd), question)) return undefined;
  const records: RecordSpan[] = [];
  let offset = questionEnd;
  let end = questionEnd;
  let upperRcode = 0;
  let sawOpt = false;
  for (const [index, section] of SECTIONS.entries()) {
    for (let left = bytes.readUInt16BE(6 + 2 * index); left > 0; left--) {
      const span = readSpan(bytes, offset, section);
      if (span === undefined) return undefined;
      offset = span.end;
      if (span.type === TYPE.OPT) {
        upperRcode = bytes[span.ttlOffset] ?? 0;
        sawOpt = true;
      }
      // Behind an OPT stand signatures of the exchange alone; cutting there keeps every pointer true.
      if (sawOpt) continue;
      records.push(span);
      end = span.end;
    }
  }
  return {
    bytes: Buffer.from(bytes.subarray(0, end)),
    questionEnd,
    rcode: (upperRcode << 4) | (flags & 0xf),
    truncated: (flags & FLAG.truncated) !== 0,
    records,
  };
}

function readSpan(bytes: Buffer, start: number, section: Section): RecordSpan | undefined {
  const name = skipName(bytes, start);
  if (name === undefined || name + 10 > bytes.length) return undefined;
  const end = name + 10 + bytes.readUInt16BE(name + 8);
  if (end > bytes.length) return undefined;
  const ttl = bytes.readInt32BE(name + 4);
  // A TTL with the highest bit set counts as 0 (RFC 2181 section 8).
  return { section, type: bytes.readUInt16BE(name), ttlOffset: name + 4, ttlS: Math.max(0, ttl), end };
}

/** Letter case apart (RFC 4343); type and class must be equal. */
function sameQuestion(bytes: Buffer, question: Question): boolean {
  const { length } = question.bytes;
  for (let index = 0; index < length; index++) {
    const one = bytes[index] ?? 0;
    const other = question.bytes[index] ?? 0;
    if (one === other) continue;
    if (index >= length - 4 || (one ^ other) !== 0x20) return false;
    const letter = one | 0x20;
    if (letter < 0x61 || letter > 0x7a) return false;
  }
  return true;
}

/** Seconds for which it may be kept: the smallest TTL; for "no such name" and "no data" the SOA's (RFC 2308 section 5). 0: not at all. */
export function lifetimeS(message: ForeignMessage): number {
  if (message.truncated) return 0;
  const answers = message.records.filter(({ section }) => section === 'answer');
  const isNegative =
    message.rcode === RCODE.NXDOMAIN || (message.rcode === RCODE.NOERROR && !endsIn(message));
  if (isNegative) {
    const soa = message.records.find(({ section, type }) => section === 'authority' && type === TYPE.SOA);
    if (soa === undefined || soa.end - soa.ttlOffset < 10) return 0;
    return Math.min(soa.ttlS, message.bytes.readUInt32BE(soa.end - 4), ...answers.map(({ ttlS }) => ttlS));
  }
  if (message.rcode !== RCODE.NOERROR) return 0;
  return message.records.reduce((least, { ttlS }) => Math.min(least, ttlS), Number.POSITIVE_INFINITY);
}

/** Whether the answers have a record of the type that was asked for, or of any type where that was asked. */
function endsIn({ records, bytes, questionEnd }: ForeignMessage): boolean {
  const asked = bytes.readUInt16BE(questionEnd - 4);
  return records.some(({ section, type }) => section === 'answer' && (type === asked || asked === TYPE.ANY));
}

export interface ReplayOptions {
  readonly bytesMax: number;
  /** Seconds since it came. */
  readonly ageS: number;
  /** In place of what is left of the TTLs, for answers past their time. */
  readonly ttlS?: number;
}

/** The message as the answer to another query for the same. */
export function replayMessage(message: ForeignMessage, asked: Asked, options: ReplayOptions): Buffer {
  const optBytes = asked.edns === undefined ? 0 : OPT_BYTES;
  const limit = Math.min(options.bytesMax, TCP_MESSAGE_BYTES_MAX) - optBytes;
  const kept = message.records.filter(({ end }) => end <= limit);
  const cut = message.records[kept.length];
  const end = kept.at(-1)?.end ?? message.questionEnd;
  const out = Buffer.alloc(end + optBytes);
  message.bytes.copy(out, 0, 0, end);
  asked.question?.bytes.copy(out, HEADER_BYTES);
  for (const { ttlOffset, ttlS } of kept)
    out.writeUInt32BE(options.ttlS ?? Math.max(0, ttlS - options.ageS), ttlOffset);
  // An additional record may be missing, an answer or an authority may not (RFC 2181 section 9).
  const truncated = message.truncated || (cut !== undefined && cut.section !== 'additional');
  const wantsAd = asked.edns?.dnssecOk === true || (asked.flags & FLAG.authenticData) !== 0;
  const upper = message.rcode > 0xf;
  out.writeUInt16BE(asked.id, 0);
  out.writeUInt16BE(
    FLAG.response |
      FLAG.recursionAvailable |
      (asked.flags & (FLAG.recursionDesired | FLAG.checkingDisabled)) |
      (truncated ? FLAG.truncated : 0) |
      (wantsAd ? message.bytes.readUInt16BE(2) & FLAG.authenticData : 0) |
      (upper ? RCODE.SERVFAIL : message.rcode),
    2,
  );
  for (const [index, section] of SECTIONS.entries()) {
    const count = kept.filter((one) => one.section === section).length;
    out.writeUInt16BE(section === 'additional' && optBytes > 0 ? count + 1 : count, 6 + 2 * index);
  }
  if (asked.edns !== undefined) writeOpt(out, end, 0, asked.edns.dnssecOk);
  return out;
}

export interface QuestionOptions {
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
}

/** A recursive query with EDNS (RFC 6891). */
export function writeQuestion(id: number, question: Question, options: QuestionOptions): Buffer {
  const out = Buffer.alloc(HEADER_BYTES + question.bytes.length + OPT_BYTES);
  out.writeUInt16BE(id, 0);
  out.writeUInt16BE(FLAG.recursionDesired | (options.checkingDisabled ? FLAG.checkingDisabled : 0), 2);
  out.writeUInt16BE(1, 4);
  out.writeUInt16BE(1, 10);
  writeOpt(out, HEADER_BYTES + question.bytes.copy(out, HEADER_BYTES), 0, options.dnssecOk);
  return out;
}
