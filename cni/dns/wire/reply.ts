import { encodeRecordData } from './codec.ts';
import {
  CLASS_IN,
  EDNS_UDP_BYTES,
  FLAG,
  HEADER_BYTES,
  OPT_BYTES,
  TCP_MESSAGE_BYTES_MAX,
  TYPE,
} from './numbers.ts';
import type { Asked } from './query.ts';
import type { OwnRecord } from './records.ts';

export interface Reply {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly answers: readonly OwnRecord[];
  readonly authorities: readonly OwnRecord[];
  readonly additionals: readonly OwnRecord[];
}

const POINTER = 0xc000;
/** Pointers have 14 bits. */
const pointerOffsetMax = 0x3fff;
/** Bits of a query that its answer repeats: opcode, RD, CD. */
const ECHOED_FLAGS = 0x7800 | FLAG.recursionDesired | FLAG.checkingDisabled;

/** One message is written at a time; a record that is too long is noticed after it was written. */
const scratch = Buffer.alloc(3 * TCP_MESSAGE_BYTES_MAX);

/**
 * The answer to `asked` in at most `bytesMax` bytes. Records that don't fit are left out whole; where they are answers or
 * authority, TC is set (RFC 2181 section 9).
 */
export function writeReply(
  asked: Asked,
  reply: Reply,
  options: { readonly bytesMax: number; readonly recursionAvailable: boolean },
): Buffer {
  const limit =
    Math.min(options.bytesMax, TCP_MESSAGE_BYTES_MAX) - (asked.edns === undefined ? 0 : OPT_BYTES);
  const writer = new Writer(asked, limit);
  const answers = writer.section(reply.answers);
  const authorities = writer.isFull ? 0 : writer.section(reply.authorities);
  const truncated = writer.isFull;
  const additionals = truncated ? 0 : writer.section(reply.additionals);
  scratch.writeUInt16BE(asked.id, 0);
  scratch.writeUInt16BE(
    FLAG.response |
      (asked.flags & ECHOED_FLAGS) |
      (reply.authoritative ? FLAG.authoritative : 0) |
      (truncated ? FLAG.truncated : 0) |
      (options.recursionAvailable ? FLAG.recursionAvailable : 0) |
      (reply.rcode & 0xf),
    2,
  );
  scratch.writeUInt16BE(asked.question === undefined ? 0 : 1, 4);
  scratch.writeUInt16BE(answers, 6);
  scratch.writeUInt16BE(authorities, 8);
  scratch.writeUInt16BE(additionals + (asked.edns === undefined ? 0 : 1), 10);
  if (asked.edns !== undefined) writer.end = writeOpt(scratch, writer.end, reply.rcode, asked.edns.dnssecOk);
  return Buffer.from(scratch.subarray(0, writer.end));
}

/** Writes an OPT record without options; gives back the offset behind it. */
export function writeOpt(target: Buffer, offset: number, rcode: number, dnssecOk: boolean): number {
  target[offset] = 0;
  target.writeUInt16BE(TYPE.OPT, offset + 1);
  target.writeUInt16BE(EDNS_UDP_BYTES, offset + 3);
  target.writeUInt32BE(((rcode >> 4) << 24) | (dnssecOk ? 0x8000 : 0), offset + 5);
  target.writeUInt16BE(0, offset + 9);
  return offset + OPT_BYTES;
}

/** Question and sections, with names compressed (RFC 1035 section 4.1.4) against all that was written before. */
class Writer {
  end = HEADER_BYTES;
  isFull = false;
  readonly #limit: number;
  readonly #known = new Map<string, number>();

  constructor({ question }: Asked, limit: number) {
    this.#limit = limit;
    if (question === undefined) return;
    this.end += question.bytes.copy(scratch, HEADER_BYTES);
    let offset = HEADER_BYTES;
    // An escaped name has other lengths on the wire than in its text, and no record here shares a part of it.
    if (question.name.includes('\\')) return;
    for (let rest = question.name; rest !== ''; rest = parentOf(rest)) {
      this.#known.set(rest, offset);
      offset += 1 + labelLength(rest);
    }
  }

  /** How many records fit. */
  section(records: readonly OwnRecord[]): number {
    let written = 0;
    for (const one of records) {
      const start = this.end;
      this.#record(one);
      if (this.end > this.#limit) {
        // What names this record wrote must not be pointed to any more, but nothing is written after it.
        this.end = start;
        this.isFull = true;
        break;
      }
      written++;
    }
    return written;
  }

  #record({ name, type, ttl, typeName, data }: OwnRecord): void {
    this.#name(name);
    scratch.writeUInt16BE(type, this.end);
    scratch.writeUInt16BE(CLASS_IN, this.end + 2);
    scratch.writeUInt32BE(ttl, this.end + 4);
    this.end = encodeRecordData(typeName, data, scratch, this.end + 8);
  }

  #name(text: string): void {
    for (let rest = text; rest !== ''; rest = parentOf(rest)) {
      const known = this.#known.get(rest);
      if (known !== undefined) {
        this.end = scratch.writeUInt16BE(POINTER | known, this.end);
        return;
      }
      if (this.end <= pointerOffsetMax) this.#known.set(rest, this.end);
      const length = labelLength(rest);
      scratch[this.end] = length;
      this.end += 1 + scratch.write(rest.slice(0, length), this.end + 1, 'latin1');
    }
    scratch[this.end++] = 0;
  }
}

function labelLength(name: string): number {
  const dot = name.indexOf('.');
  return dot < 0 ? name.length : dot;
}

function parentOf(name: string): string {
  const dot = name.indexOf('.');
  return dot < 0 ? '' : name.slice(dot + 1);
}
