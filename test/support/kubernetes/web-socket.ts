import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** RFC 6455, section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const OPCODES = { binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** What the fake API server carries by WebSocket. */
export interface Upgrades {
  /** False: this request is somebody else's. */
  onUpgrade(request: IncomingMessage, socket: Duplex): boolean;
  close(): void;
}

/** Takes a WebSocket up with one of Kubernetes' protocols, or refuses it with 400 where the client doesn't offer that. */
export function accept(request: IncomingMessage, socket: Duplex, protocol: string): boolean {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/,\s*/);
  if (!offered.includes(protocol)) {
    refuse(socket, 400);
    return false;
  }
  const key = `${request.headers['sec-websocket-key']}${GUID}`;
  const head = [
    'HTTP/1.1 101 Switching Protocols',
    ...['upgrade: websocket', 'connection: Upgrade', `sec-websocket-protocol: ${protocol}`],
    `sec-websocket-accept: ${createHash('sha1').update(key).digest('base64')}`,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  return true;
}

export function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
}

/** A message on one of the protocol's channels. False where the client is slow. */
export function send(socket: Duplex, channel: number, bytes: Uint8Array): boolean {
  return socket.write(frame(OPCODES.binary, Buffer.concat([Buffer.of(channel), bytes])));
}

export function sayGoodbye(socket: Duplex): void {
  socket.end(frame(OPCODES.close, Buffer.alloc(0)));
}

/** Reads the client's messages. Answers pings. */
export function onMessages(
  socket: Duplex,
  handler: { message(channel: number, bytes: Buffer): void; closed(): void },
): void {
  let rest = Buffer.alloc(0);
  // A client that is killed says no goodbye.
  socket.once('end', () => socket.end());
  socket.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    for (let next = parse(rest); next !== undefined; next = parse(rest)) {
      rest = rest.subarray(next.bytes);
      const { opcode, payload } = next;
      if (opcode === OPCODES.close) handler.closed();
      else if (opcode === OPCODES.ping) socket.write(frame(OPCODES.pong, payload));
      else if (opcode === OPCODES.binary) handler.message(payload[0] ?? 0, payload.subarray(1));
    }
  });
}

/** One frame of a server, which masks nothing. */
function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const first = 0x80 | opcode;
  if (length < 126) return Buffer.concat([Buffer.of(first, length), payload]);
  if (length < 65_536) return Buffer.concat([Buffer.of(first, 126, length >> 8, length & 0xff), payload]);
  const long = Buffer.alloc(8);
  long.writeBigUInt64BE(BigInt(length));
  return Buffer.concat([Buffer.of(first, 127), long, payload]);
}

/** The first whole frame of a client, unmasked. */
function parse(
  data: Buffer,
): { readonly opcode: number; readonly payload: Buffer; readonly bytes: number } | undefined {
  if (data.length < 2) return undefined;
  const short = data.readUInt8(1) & 0x7f;
  const wide = short === 126 ? 2 : short === 127 ? 8 : 0;
  if (data.length < 2 + wide + 4) return undefined;
  const length = wide === 0 ? short : wide === 2 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
  const start = 2 + wide + 4;
  if (data.length < start + length) return undefined;
  const mask = data.subarray(start - 4, start);
  const payload = Buffer.from(data.subarray(start, start + length));
  for (let index = 0; index < length; index++)
    payload.writeUInt8(payload.readUInt8(index) ^ mask.readUInt8(index % 4), index);
  return { opcode: data.readUInt8(0) & 0x0f, payload, bytes: start + length };
}
