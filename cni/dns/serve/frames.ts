/** A message with its length in front, as TCP carries it (RFC 1035 section 4.2.2), in one write (RFC 7766 section 8). */
export function framed(message: Buffer): Buffer {
  const out = Buffer.alloc(message.length + 2);
  out.writeUInt16BE(message.length, 0);
  message.copy(out, 2);
  return out;
}

/** Cuts a TCP stream into messages. It holds less than one message and its length, 64 KiB, between calls. */
export class MessageFrames {
  #rest: Buffer = Buffer.alloc(0);

  get isEmpty(): boolean {
    return this.#rest.length === 0;
  }

  /** The messages that `chunk` completes. */
  push(chunk: Buffer): Buffer[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: Buffer[] = [];
    while (bytes.length >= 2) {
      const end = 2 + bytes.readUInt16BE(0);
      if (bytes.length < end) break;
      messages.push(bytes.subarray(2, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = Buffer.from(bytes);
    return messages;
  }
}
