import type { Clock } from '../../../common/clock.ts';
import type { ForwardLimits } from './limits.ts';

export interface Upstream {
  readonly address: string;
  readonly port: number;
}

export function upstreamText({ address, port }: Upstream): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

interface Health {
  readonly upstream: Upstream;
  failures: number;
  restsUntilMs: number;
  /** Our own question came back from it. */
  leadsBack: boolean;
}

/** Who is asked, in which order: as configured, those that failed lately last, those that lead back to us never. */
export class Upstreams {
  readonly #all: readonly Health[];
  readonly #clock: Clock;
  readonly #limits: ForwardLimits;

  constructor(upstreams: readonly Upstream[], clock: Clock, limits: ForwardLimits) {
    this.#all = upstreams.map((upstream) => ({ upstream, failures: 0, restsUntilMs: 0, leadsBack: false }));
    this.#clock = clock;
    this.#limits = limits;
  }

  order(): readonly Upstream[] {
    const nowMs = this.#clock.now();
    const usable = this.#all.filter(({ leadsBack }) => !leadsBack);
    const awake = usable.filter(({ restsUntilMs }) => restsUntilMs <= nowMs);
    const resting = usable.filter(({ restsUntilMs }) => restsUntilMs > nowMs);
    return [...awake, ...resting].map(({ upstream }) => upstream);
  }

  succeeded(upstream: Upstream): void {
    const health = this.#of(upstream);
    if (health === undefined) return;
    health.failures = 0;
    health.restsUntilMs = 0;
  }

  failed(upstream: Upstream): void {
    const health = this.#of(upstream);
    if (health === undefined) return;
    health.failures++;
    if (health.failures >= this.#limits.failuresMax)
      health.restsUntilMs = this.#clock.now() + this.#limits.restMs;
  }

  leadsBack(upstream: Upstream): void {
    const health = this.#of(upstream);
    if (health !== undefined) health.leadsBack = true;
  }

  #of(upstream: Upstream): Health | undefined {
    return this.#all.find((one) => one.upstream === upstream);
  }
}
