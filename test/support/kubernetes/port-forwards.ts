import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import net from 'node:net';
import type { Duplex } from 'node:stream';

/** RFC 6455, section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const PROTOCOL = 'v4.channel.k8s.io';
const OPCODES = { binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Where a pod's port leads in a test; a number is the status of a refusal, a text why kubelet can't reach it. */
export type Forwarding =
  | { readonly host: string; readonly port: number }
  | { readonly status: number }
  | { readonly error: string }
  | 'silent';

/** API server and kubelet, as far as `pods/portforward` over WebSocket goes (`v4.channel.k8s.io`). */
export class PortForwards {
  /** `pod:port` of each that was asked for. */
  readonly asked: string[] = [];
  readonly #lead: (pod: string, port: number) => Forwarding;
  readonly #open = new Map<Duplex, string>();

  constructor(lead: (pod: string, port: number) => Forwarding) {
    this.#lead = lead;
  }

  get open(): number {
    return this.#open.size;
  }

  /** To be given to `server.on('upgrade', …)`. */
  readonly onUpgrade = (request: IncomingMessage, socket: Duplex): void => {
    const url = new URL(request.url ?? '', 'http://fake');
    const pod = /\/pods\/([^/]+)\/portforward$/.exec(url.pathname)?.[1] ?? '';
    const port = Number(url.searchParams.get('ports'));
    this.asked.push(`${pod}:${port}`);
    socket.on('error', () => socket.destroy());
    const to = this.#lead(pod, port);
    if (to === 'silent') {
      this.#keep(socket, pod);
      return;
    }
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/,\s*/);
    if ('status' in to || !offered.includes(PROTOCOL)) {
      const status = 'status' in to ? to.status : 400;
      socket.end(`HTTP/1.1 ${status} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      return;
    }
    const key = `${request.headers['sec-websocket-key']}${GUID}`;
    const head = [
      'HTTP/1.1 101 Switching Protocols',
      ...['upgrade: websocket', 'connection: Upgrade', `sec-websocket-protocol: ${PROTOCOL}`],
      `sec-websocket-accept: ${createHash('sha1').update(key).digest('base64')}`,
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    this.#keep(socket, pod);
    carry(socket, port, to);
  };

  /** As when a pod is gone. */
  drop(pod: string): void {
    for (const [socket, of] of this.#open) if (of === pod) socket.destroy();
  }

  close(): void {
    for (const socket of this.#open.keys()) socket.destroy();
  }

  #keep(socket: Duplex, pod: string): void {
    this.#open.set(socket, pod);
    socket.once('close', () => this.#open.delete(socket));
  }
}

function carry(
  socket: Duplex,
  port: number,
  to: { readonly host: string; readonly port: number } | { readonly error: string },
): void {
  const number = Buffer.of(port & 0xff, port >> 8);
  for (const channel of [0, 1]) socket.write(frame(OPCODES.binary, Buffer.of(channel, ...number)));
  const fail = (message: string) => {
    socket.write(frame(OPCODES.binary, Buffer.concat([Buffer.of(1), Buffer.from(message)])));
    socket.end(frame(OPCODES.close, Buffer.alloc(0)));
  };
  if ('error' in to) {
    fail(to.error);
    return;
  }
  const app = net.connect({ host: to.host, port: to.port });
  app.on('error', (thrown) => fail(`error forwarding port ${port}: ${thrown.message}`));
  app.on('data', (bytes: Buffer) => {
    if (socket.write(frame(OPCODES.binary, Buffer.concat([Buffer.of(0), bytes])))) return;
    app.pause();
    socket.once('drain', () => app.resume());
  });
  app.on('end', () => socket.end(frame(OPCODES.close, Buffer.alloc(0))));
  socket.once('close', () => app.destroy());
  let rest = Buffer.alloc(0);
  socket.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    for (let next = parse(rest); next !== undefined; next = parse(rest)) {
      rest = rest.subarray(next.bytes);
      if (next.opcode === OPCODES.close) app.end();
      else if (next.opcode === OPCODES.binary && next.payload[0] === 0) app.write(next.payload.subarray(1));
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
