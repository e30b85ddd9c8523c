import type { RouteRule } from '../snapshot.ts';

/** The rules on each Service port: the producer's, and those of consumers by their namespace. */
export class AttachedRoutes {
  readonly #rules = new Map<string, RouteRule[]>();
  readonly #consumers = new Set<string>();

  add(service: string, port: number, consumer: string | undefined, rules: readonly RouteRule[]): void {
    const key = `${service}:${port}@${consumer ?? ''}`;
    if (consumer !== undefined) this.#consumers.add(consumer);
    const known = this.#rules.get(key);
    if (known === undefined) this.#rules.set(key, [...rules]);
    else known.push(...rules);
  }

  /** A consumer's own rules stand in the place of the producer's for its namespace, they aren't merged. */
  rulesFor(service: string, port: number, clientNamespace: string): readonly RouteRule[] {
    const own = this.#rules.get(`${service}:${port}@${clientNamespace}`);
    return own ?? this.#rules.get(`${service}:${port}@`) ?? [];
  }

  hasConsumer(namespace: string): boolean {
    return this.#consumers.has(namespace);
  }
}
