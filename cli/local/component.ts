import { join } from 'node:path';
import type { Clock, Timer } from '../../common/clock.ts';
import { Backoff, COMPONENT_BACKOFF } from './backoff.ts';
import type { Child, Children, ChildSpec } from './children.ts';
import { LogFile } from './log-file.ts';

const tailBytesMax = 4_096;
const stopGraceMs = 5_000;

/** One of the mesh's own processes (control plane, injector): logged, and started again when it ends. */
export class Component {
  readonly name: string;
  readonly #clock: Clock;
  readonly #children: Pick<Children, 'start'>;
  readonly #spec: ChildSpec;
  readonly #log: LogFile;
  readonly #onEnd: (message: string) => void;
  readonly #backoff = new Backoff(COMPONENT_BACKOFF);
  #child: Child | undefined;
  #timer: Timer | undefined;
  #stopping = false;
  #tail = '';

  constructor(
    clock: Clock,
    children: Pick<Children, 'start'>,
    logs: string,
    spec: ChildSpec,
    onEnd: (message: string) => void,
  ) {
    this.name = spec.name;
    this.#clock = clock;
    this.#children = children;
    this.#spec = spec;
    this.#onEnd = onEnd;
    this.#log = new LogFile(join(logs, 'heddle-system', `${spec.name}.log`));
  }

  get lastOutput(): string {
    return this.#tail;
  }
  get running(): boolean {
    return this.#child?.running() ?? false;
  }

  start(): void {
    if (this.#stopping) return;
    const startedAtMs = this.#clock.now();
    this.#log.startRun();
    this.#tail = '';
    const child = this.#children.start(this.#spec);
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.#log.write(chunk);
        this.#tail = (this.#tail + chunk.toString()).slice(-tailBytesMax);
      });
    void child.exited.then((status) => {
      if (this.#stopping) return;
      const how = status.error ?? (status.signal === null ? `exit code ${status.code}` : status.signal);
      const delayMs = this.#backoff.next(this.#clock.now() - startedAtMs);
      this.#onEnd(`${this.name} ended (${how}); it is started again in ${delayMs} ms`);
      this.#timer = this.#clock.after(delayMs, () => this.start());
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    await this.#child?.stop(stopGraceMs);
    this.#log.close();
  }
}
