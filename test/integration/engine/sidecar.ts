import net from 'node:net';
import { systemClock } from '../../../common/clock.ts';
import { tcpDialer } from '../../../common/net.ts';
import type { MtlsMode } from '../../../model/snapshot.ts';
import type { EngineLimits } from '../../../proxy/codec/limits.ts';
import type { OutboundMode } from '../../../proxy/listener/outbound.ts';
import { tcpListen } from '../../../proxy/listener/tcp-listen.ts';
import { createStack, type Stack, type StackDeps } from '../../../proxy/stack.ts';
import { makeFakes } from '../../support/engine-fakes.ts';
import type { TestCa } from './ca.ts';

/** A data path on real sockets with the stages faked. */
export interface Sidecar {
  readonly stack: Stack;
  readonly fakes: ReturnType<typeof makeFakes>;
  readonly outboundPort: number;
  mode(port: number, mode: MtlsMode): void;
  rotate(): void;
  close(): Promise<void>;
}

export async function startSidecar(
  ca: TestCa,
  identity: string,
  mode: OutboundMode = 'http-proxy',
  limits: Partial<EngineLimits> = {},
  real: Partial<StackDeps> = {},
): Promise<Sidecar> {
  const fakes = makeFakes();
  fakes.identity.set(ca.issue(identity));
  const stack = createStack({
    ...{ ...fakes, clock: systemClock, dialer: tcpDialer, listen: tcpListen, limits },
    ...real,
  });
  const outbound = await stack.listenOutbound({ host: '127.0.0.1', port: 0 }, mode);
  return {
    stack,
    fakes,
    outboundPort: outbound.port,
    mode(port, portMode) {
      const config = fakes.config.inboundConfig;
      if (config === undefined) return;
      const ports = [...config.ports, { port, protocol: 'auto', mode: portMode } as const];
      fakes.config.inboundConfig = { ...config, ports };
    },
    rotate: () => fakes.identity.set(ca.issue(identity)),
    close: () => stack.close(),
  };
}

export interface TestServer {
  readonly port: number;
  connections(): number;
  close(): Promise<void>;
}

export async function startServer(onSocket: (socket: net.Socket) => void): Promise<TestServer> {
  let connections = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as net.AddressInfo).port,
    connections: () => connections,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** A client's side of one connection. */
export interface TestClient {
  readonly socket: net.Socket;
  text(): string;
  ended(): boolean;
}

export async function openTcp(port: number): Promise<TestClient> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let heard = '';
  let ended = false;
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1');
  });
  socket.on('end', () => {
    ended = true;
  });
  socket.on('error', () => socket.destroy());
  await new Promise((resolve) => socket.once('connect', resolve));
  return { socket, text: () => heard, ended: () => ended };
}

/** Everything the other side says to `bytes` until the connection is over. */
export async function ask(port: number, bytes: string): Promise<{ readonly text: string }> {
  const client = await openTcp(port);
  client.socket.write(bytes, 'latin1');
  client.socket.once('end', () => client.socket.end());
  if (!client.socket.destroyed) await new Promise((resolve) => client.socket.once('close', resolve));
  return { text: client.text() };
}
