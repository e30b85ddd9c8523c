import packet from 'dns-packet';
import { readPlainName } from './names.ts';
import { EDNS_UDP_BYTES, FLAG, HEADER_BYTES, PLAIN_UDP_BYTES, RCODE } from './numbers.ts';

/** A query carries an OPT, perhaps a signature; who sends more wants to keep us busy. */
const recordsPerQueryMax = 8;
const OPCODE_MASK = 0x7800;

export interface Question {
  /** See `ReadName.text`. */
  readonly name: string;
  readonly type: number;
  readonly dnsClass: number;
  /** Name, type and class as they were sent: answers echo them, letter case included. */
  readonly bytes: Buffer;
}

export interface Edns {
  /** The largest answer over UDP that fits the client and the path. */
  readonly udpBytesMax: number;
  readonly dnssecOk: boolean;
}

/** As much of a query as its answer needs, be it only an error. */
export interface Asked {
  readonly id: number;
  /** The header's second word. */
  readonly flags: number;
  readonly question: Question | undefined;
  readonly edns: Edns | undefined;
}

export interface Query extends Asked {
  readonly question: Question;
}

export type QueryRead =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'refused'; readonly asked: Asked; readonly rcode: number }
  /** Nothing that may be answered: too short, or an answer itself. */
  | { readonly kind: 'dropped' };

/** Reads what a client sent. Whatever the bytes are, it doesn't throw. */
export function readQuery(bytes: Buffer): QueryRead {
  if (bytes.length < HEADER_BYTES) return { kind: 'dropped' };
  const flags = bytes.readUInt16BE(2);
  if ((flags & FLAG.response) !== 0) return { kind: 'dropped' };
  const bare: Asked = { id: bytes.readUInt16BE(0), flags, question: undefined, edns: undefined };
  const refused = (rcode: number, asked = bare): QueryRead => ({ kind: 'refused', asked, rcode });
  if ((flags & OPCODE_MASK) !== 0) return refused(RCODE.NOTIMP);
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  if (bytes.readUInt16BE(4) !== 1 || records > recordsPerQueryMax) return refused(RCODE.FORMERR);
  const question = readQuestion(bytes);
  if (question === undefined) return refused(RCODE.FORMERR);
  const asked = { ...bare, question };
  if (records === 0) return { kind: 'query', query: asked };
  const opt = readOpt(bytes);
  if (opt === 'malformed') return refused(RCODE.FORMERR, asked);
  if (opt === undefined) return { kind: 'query', query: asked };
  const query = { ...asked, edns: opt.edns };
  return opt.version === 0 ? { kind: 'query', query } : refused(RCODE.BADVERS, query);
}

function readQuestion(bytes: Buffer): Question | undefined {
  const name = readPlainName(bytes, HEADER_BYTES);
  if (name === undefined || name.end + 4 > bytes.length) return undefined;
  return {
    name: name.text,
    type: bytes.readUInt16BE(name.end),
    dnsClass: bytes.readUInt16BE(name.end + 2),
    bytes: Buffer.from(bytes.subarray(HEADER_BYTES, name.end + 4)),
  };
}

/** The OPT record (RFC 6891 section 6.1), of which there may be one, at the root, among the additional records. */
function readOpt(bytes: Buffer): { edns: Edns; version: number } | undefined | 'malformed' {
  try {
    const { additionals = [] } = packet.decode(bytes);
    // Beyond the end of the bytes dns-packet reads some fields as empty instead of throwing.
    if (packet.decode.bytes > bytes.length) return 'malformed';
    const opts = additionals.filter((one) => one.type === 'OPT');
    const [opt] = opts;
    if (opt === undefined) return undefined;
    if (opts.length > 1 || opt.name !== '.') return 'malformed';
    const { udpPayloadSize, ednsVersion, flag_do } = opt;
    const udpBytesMax = Math.min(Math.max(udpPayloadSize, PLAIN_UDP_BYTES), EDNS_UDP_BYTES);
    return { edns: { udpBytesMax, dnssecOk: flag_do === true }, version: ednsVersion };
  } catch {
    return 'malformed';
  }
}
