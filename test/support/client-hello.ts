/** A ClientHello message with this ALPN offer. */
export function hello(protocols: readonly string[]): Buffer {
  const list = Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));
  const alpn = Buffer.concat([Buffer.from([0, 16, 0, list.length + 2, 0, list.length]), list]);
  const other = Buffer.from([0, 43, 0, 3, 2, 3, 4]);
  const extensions = Buffer.concat([other, protocols.length > 0 ? alpn : Buffer.alloc(0)]);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0, 0, 2, 0x13, 1, 1, 0, extensions.length >> 8, extensions.length & 255]),
    extensions,
  ]);
  return Buffer.concat([Buffer.from([1, 0, body.length >> 8, body.length & 255]), body]);
}

/** The handshake message in records of at most `size` bytes. */
export function records(message: Buffer, size: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    parts.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(parts);
}
