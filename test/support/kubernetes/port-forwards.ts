import type { IncomingMessage } from 'node:http';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { accept, onMessages, refuse, sayGoodbye, send, type Upgrades } from './web-socket.ts';

const PROTOCOL = 'v4.channel.k8s.io';

/** Where a pod's port leads in a test; a number is the status of a refusal, a text why kubelet can't reach it. */
export type Forwarding =
  | { readonly host: string; readonly port: number }
  | { readonly status: number }
  | { readonly error: string }
  | 'silent';

/** API server and kubelet, as far as `pods/portforward` over WebSocket goes (`v4.channel.k8s.io`). */
export class PortForwards implements Upgrades {
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

  onUpgrade(request: IncomingMessage, socket: Duplex): boolean {
    const url = new URL(request.url ?? '', 'http://fake');
    const pod = /\/pods\/([^/]+)\/portforward$/.exec(url.pathname)?.[1];
    if (pod === undefined) return false;
    const port = Number(url.searchParams.get('ports'));
    this.asked.push(`${pod}:${port}`);
    socket.on('error', () => socket.destroy());
    const to = this.#lead(pod, port);
    if (to === 'silent') this.#keep(socket, pod);
    else if ('status' in to) refuse(socket, to.status);
    else if (accept(request, socket, PROTOCOL)) {
      this.#keep(socket, pod);
      carry(socket, port, to);
    }
    return true;
  }

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
  for (const channel of [0, 1]) send(socket, channel, number);
  const fail = (message: string) => {
    send(socket, 1, Buffer.from(message));
    sayGoodbye(socket);
  };
  if ('error' in to) {
    fail(to.error);
    return;
  }
  const app = net.connect({ host: to.host, port: to.port });
  app.on('error', (thrown) => fail(`error forwarding port ${port}: ${thrown.message}`));
  app.on('data', (bytes: Buffer) => {
    if (send(socket, 0, bytes)) return;
    app.pause();
    socket.once('drain', () => app.resume());
  });
  app.on('end', () => sayGoodbye(socket));
  socket.once('close', () => app.destroy());
  onMessages(socket, {
    message: (channel, bytes) => void (channel === 0 && app.write(bytes)),
    closed: () => app.end(),
  });
}
