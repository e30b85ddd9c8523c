import { type ChildProcess, spawn } from 'node:child_process';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { accept, onMessages, refuse, sayGoodbye, send, type Upgrades } from './web-socket.ts';

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3 } as const;

export interface AskedCommand {
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
}

/** What becomes of a command in a test: a process of this machine, a refusal, what the runtime says where it can't be started. */
export type Execution =
  | { readonly run: readonly string[] }
  | { readonly status: number }
  | { readonly error: string }
  | 'silent';

/**
 * API server, kubelet and container runtime, as far as `pods/exec` over WebSocket goes (`v5.channel.k8s.io`). As with a runtime, a
 * command whose client is gone reads the end of its input, and is not killed.
 */
export class PodCommands implements Upgrades {
  readonly asked: AskedCommand[] = [];
  readonly #lead: (asked: AskedCommand) => Execution;
  readonly #open = new Map<Duplex, string>();
  readonly #running = new Set<ChildProcess>();

  constructor(lead: (asked: AskedCommand) => Execution) {
    this.#lead = lead;
  }

  get open(): number {
    return this.#open.size;
  }

  /** Processes that haven't ended. */
  get running(): number {
    return this.#running.size;
  }

  onUpgrade(request: IncomingMessage, socket: Duplex): boolean {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://fake');
    const pod = /\/pods\/([^/]+)\/exec$/.exec(pathname)?.[1];
    if (pod === undefined) return false;
    const asked = {
      ...{ pod, container: searchParams.get('container') ?? '' },
      command: searchParams.getAll('command'),
    };
    this.asked.push(asked);
    socket.on('error', () => socket.destroy());
    const execution = this.#lead(asked);
    if (execution === 'silent') {
      this.#keep(socket, pod);
      socket.resume().once('end', () => socket.end());
    } else if ('status' in execution) refuse(socket, execution.status);
    else if (accept(request, socket, 'v5.channel.k8s.io')) {
      this.#keep(socket, pod);
      for (const channel of [CHANNEL.stdout, CHANNEL.stderr, CHANNEL.status])
        send(socket, channel, Buffer.alloc(0));
      if ('run' in execution) this.#run(socket, execution.run);
      else end(socket, { status: 'Failure', reason: 'InternalError', message: execution.error });
    }
    return true;
  }

  /** As when a pod is deleted. */
  drop(pod: string): void {
    for (const [socket, of] of this.#open) if (of === pod) socket.destroy();
  }

  close(): void {
    for (const socket of this.#open.keys()) socket.destroy();
  }

  #run(socket: Duplex, [program = '', ...args]: readonly string[]): void {
    const child = spawn(program, args, { env: {}, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#running.add(child);
    child.stdin.on('error', () => undefined);
    for (const [stream, channel] of [
      [child.stdout, CHANNEL.stdout],
      [child.stderr, CHANNEL.stderr],
    ] as const)
      stream.on('data', (bytes: Buffer) => {
        if (socket.destroyed || send(socket, channel, bytes)) return;
        stream.pause();
        socket.once('drain', () => stream.resume());
        socket.once('close', () => stream.resume());
      });
    child.once('close', (code) => {
      this.#running.delete(child);
      if (!socket.writable) return;
      if (code === 0) end(socket, { status: 'Success' });
      else
        end(socket, {
          ...{ status: 'Failure', reason: 'NonZeroExitCode' },
          message: `command terminated with non-zero exit code: ${code}`,
          details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
        });
    });
    onMessages(socket, {
      message: (channel, bytes) => void (channel === CHANNEL.stdin && child.stdin.write(bytes)),
      closed: () => sayGoodbye(socket),
    });
    socket.once('close', () => child.stdin.end());
  }

  #keep(socket: Duplex, pod: string): void {
    this.#open.set(socket, pod);
    socket.once('close', () => this.#open.delete(socket));
  }
}

function end(socket: Duplex, status: Readonly<Record<string, unknown>>): void {
  send(socket, CHANNEL.status, Buffer.from(JSON.stringify({ kind: 'Status', metadata: {}, ...status })));
  sayGoodbye(socket);
}
