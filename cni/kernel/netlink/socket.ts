import { KernelError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { checkedErrno, libc } from '../native.ts';
import { inNetns, type Netns } from '../netns.ts';
import { padded, readAttributes, readText } from './attributes.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
/** The kernel answers inside `send`: what isn't there then never comes. */
const MSG_DONTWAIT = 0x40;

const HEAD_BYTES = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const EINTR = 4;
const EPROTO = 71;

/** The kernel's own limit for one part of an answer is 32 KiB. */
const receiveBytes = 65_536;
/** A list is read anew when something changed meanwhile; it gives up on one that never stands still. */
export const dumpAttemptsMax = 16;

/** Flags of requests that make something, see netlink(7). */
export const CREATE = 0x400;
export const EXCLUSIVE = 0x200;
export const REPLACE = 0x100;

interface Message {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

/** A request: its type (`RTM_*`) and its body. `what` is the beginning of the error's message. */
export interface NetlinkRequest {
  readonly what: string;
  readonly type: number;
  readonly body: readonly Uint8Array[];
  readonly flags?: number;
}

/**
 * A socket of rtnetlink in one network namespace; it stays there, whichever the thread is in later. All calls are
 * synchronous. Refusals are `KernelError`s (`EEXIST`, `ENOENT`, `ESRCH`, `ENODEV`) with the kernel's own words.
 */
export class Netlink implements Disposable {
  readonly #fd: Fd;
  readonly #received = Buffer.alloc(receiveBytes);
  #sequence = 0;

  constructor(netns: Netns) {
    this.#fd = inNetns(netns, opened);
  }

  /** Changes something; returns when the kernel has done it. */
  change(request: NetlinkRequest): void {
    const sequence = this.#send(request, NLM_F_ACK | (request.flags ?? 0));
    for (;;) {
      for (const { type, flags, body } of this.#receive(request.what, sequence)) {
        if (type !== NLMSG_ERROR) continue;
        refuse(request.what, -body.readInt32LE(0), flags, body);
        return;
      }
    }
  }

  /** Asks for one object: the body of the answer. */
  get(request: NetlinkRequest): Buffer {
    const sequence = this.#send(request, 0);
    const [message] = this.#receive(request.what, sequence);
    if (message === undefined) throw new KernelError(`${request.what}: no answer`, EPROTO);
    if (message.type === NLMSG_ERROR)
      refuse(request.what, -message.body.readInt32LE(0), message.flags, message.body);
    return message.body;
  }

  /** Asks for a list: the bodies of its objects. Throws `EINTR` where it changes faster than it can be read. */
  dump(request: NetlinkRequest): readonly Buffer[] {
    return untilWhole(request.what, () => this.#dumpOnce(request));
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }

  /** Undefined where the list changed meanwhile; the answer is read to its end all the same. */
  #dumpOnce(request: NetlinkRequest): Buffer[] | undefined {
    const sequence = this.#send(request, NLM_F_DUMP);
    const found: Buffer[] = [];
    let interrupted = false;
    for (;;) {
      for (const { type, flags, body } of this.#receive(request.what, sequence)) {
        interrupted ||= (flags & NLM_F_DUMP_INTR) !== 0;
        if (type === NLMSG_DONE || type === NLMSG_ERROR) {
          const errno = body.length >= 4 ? -body.readInt32LE(0) : 0;
          if (errno !== EINTR) refuse(request.what, errno, flags, body);
          return interrupted || errno === EINTR ? undefined : found;
        }
        found.push(body);
      }
    }
  }

  #send({ what, type, body }: NetlinkRequest, flags: number): number {
    const bytes = HEAD_BYTES + body.reduce((sum, part) => sum + part.length, 0);
    this.#sequence = (this.#sequence + 1) >>> 0;
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32LE(bytes, 0);
    head.writeUInt16LE(type, 4);
    head.writeUInt16LE(NLM_F_REQUEST | flags, 6);
    head.writeUInt32LE(this.#sequence, 8);
    checkedErrno(what, libc().send(this.#fd.number, Buffer.concat([head, ...body]), bytes, 0));
    return this.#sequence;
  }

  /** The next datagram's messages; what answers an earlier request is left out. */
  #receive(what: string, sequence: number): Message[] {
    const result = libc().recv(this.#fd.number, this.#received, receiveBytes, MSG_DONTWAIT);
    const bytes = checkedErrno(what, result);
    return readMessages(this.#received.subarray(0, bytes), sequence);
  }
}

/** Reads anew while `read` answers undefined. */
export function untilWhole<T>(what: string, read: () => T | undefined): T {
  for (let attempt = 0; attempt < dumpAttemptsMax; attempt++) {
    const found = read();
    if (found !== undefined) return found;
  }
  throw new KernelError(`${what}: it changed each of ${dumpAttemptsMax} times it was read`, EINTR);
}

function opened(): Fd {
  const socket = libc().socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE);
  const fd = new Fd(checkedErrno('open a netlink socket', socket));
  try {
    const one = Buffer.from([1, 0, 0, 0]);
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK])
      checkedErrno('set up a netlink socket', libc().setsockopt(fd.number, SOL_NETLINK, option, one, 4));
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK, 0);
    checkedErrno('bind a netlink socket', libc().bind(fd.number, address, address.length));
    return fd;
  } catch (thrown) {
    fd[Symbol.dispose]();
    throw thrown;
  }
}

/** Copies, since the buffer that they were received in is used again. */
export function readMessages(datagram: Buffer, sequence: number): Message[] {
  const found: Message[] = [];
  for (let at = 0; at + HEAD_BYTES <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < HEAD_BYTES || at + length > datagram.length)
      throw new KernelError('read an answer of netlink: it is cut', EPROTO);
    if (datagram.readUInt32LE(at + 8) === sequence)
      found.push({
        type: datagram.readUInt16LE(at + 4),
        flags: datagram.readUInt16LE(at + 6),
        body: Buffer.from(datagram.subarray(at + HEAD_BYTES, at + length)),
      });
    at += padded(length);
  }
  return found;
}

/** `body` is errno and, but for a list's end, the request's head (all of the request where it isn't capped). */
function refuse(what: string, errno: number, flags: number, body: Buffer): void {
  if (errno === 0) return;
  let words: string | undefined;
  if ((flags & NLM_F_ACK_TLVS) !== 0) {
    const isAck = body.length >= 4 + HEAD_BYTES;
    const request = (flags & NLM_F_CAPPED) !== 0 ? HEAD_BYTES : isAck ? body.readUInt32LE(4) : 0;
    words = readText(readAttributes(body, 4 + padded(request)).get(NLMSGERR_ATTR_MSG));
  }
  throw new KernelError(what, errno, words);
}
