import type { CliContext } from '../context.ts';
import { palette } from '../output/colour.ts';

export interface DeploymentProgress {
  readonly name: string;
  readonly wanted: number;
  readonly ready: number;
  readonly trouble: string | undefined;
}

/** A trouble is told once it has lasted this long: most pass while a pod starts. */
const troubleAfterMs = 5_000;

/** What `up` prints: a line for each component as it comes up. On a terminal the last line shows what is under way. */
export class Progress {
  readonly #context: CliContext;
  readonly #seen = new Map<string, string>();
  readonly #troubleSince = new Map<string, { text: string; sinceMs: number; told: boolean }>();
  #live = '';

  constructor(context: CliContext) {
    this.#context = context;
  }

  begin(what: string): void {
    this.#setLive(`… ${what}`);
  }

  done(what: string): void {
    this.#setLive('');
    this.#line(`${palette(this.#context.colours).green('✓')} ${what}`);
  }

  warn(text: string): void {
    this.#line(`${palette(this.#context.colours).yellow('!')} ${text}`);
  }

  line(text: string): void {
    this.#line(text);
  }

  /** The last line: nothing is under way any more. */
  end(text: string): void {
    this.#setLive('');
    this.#line(text);
  }

  update(deployments: readonly DeploymentProgress[]): void {
    for (const one of deployments) {
      const state = `${one.ready}/${one.wanted}`;
      const complete = one.ready >= one.wanted;
      if (complete && this.#seen.get(one.name) !== state) this.done(`deployment ${one.name} ${state}`);
      else if (!complete && this.#seen.get(one.name)?.startsWith(`${one.wanted}/`))
        this.warn(`deployment ${one.name} ${state}`);
      this.#seen.set(one.name, state);
      this.#trouble(one);
    }
    const waiting = deployments.filter((one) => one.ready < one.wanted);
    this.#setLive(
      waiting.length === 0
        ? ''
        : `… ${waiting.map((one) => `${one.name} ${one.ready}/${one.wanted}`).join(', ')}`,
    );
  }

  #trouble(one: DeploymentProgress): void {
    if (one.trouble === undefined) {
      this.#troubleSince.delete(one.name);
      return;
    }
    const now = this.#context.clock.now();
    const known = this.#troubleSince.get(one.name);
    const entry = known ?? { text: one.trouble, sinceMs: now, told: false };
    this.#troubleSince.set(one.name, entry);
    if (entry.told || now - entry.sinceMs < troubleAfterMs) return;
    entry.told = true;
    this.warn(`${one.name}: ${one.trouble}`);
  }

  #line(text: string): void {
    const live = this.#live;
    this.#setLive('');
    this.#context.out(`${text}\n`);
    this.#setLive(live);
  }

  /** A line that would wrap could not be taken back: it is cut at the terminal's width. */
  #setLive(text: string): void {
    const { terminal, columns } = this.#context;
    const shown = text.length < columns ? text : `${text.slice(0, Math.max(1, columns - 2))}…`;
    if (!terminal || shown === this.#live) return;
    this.#context.out(`\r\u001b[K${shown}`);
    this.#live = shown;
  }
}
