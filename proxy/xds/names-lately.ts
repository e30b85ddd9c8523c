import { namesFor } from './subscriptions.ts';

/** Hosts remembered at one time; one more, and all are found out anew. */
export const hostsRememberedMax = 1_024;

/** What `namesFor` says: each request asks, and nearly all for the same few hosts. */
export class NamesLately {
  readonly #namespace: string;
  readonly #byHost = new Map<string, { readonly port: number; readonly names: readonly string[] }>();

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  for(host: string, port: number): readonly string[] {
    const known = this.#byHost.get(host);
    if (known !== undefined && known.port === port) return known.names;
    const names = namesFor(host, port, this.#namespace);
    if (this.#byHost.size >= hostsRememberedMax) this.#byHost.clear();
    // A copy: a part of a request's text would keep all of it.
    this.#byHost.set(Buffer.from(host).toString(), { port, names });
    return names;
  }

  get size(): number {
    return this.#byHost.size;
  }
}
