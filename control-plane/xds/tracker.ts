import type { Clock } from '../../common/clock.ts';
import { type ResourceType, shortType, TYPES_IN_ORDER } from '../../common/wire/types.ts';
import type { ProxyInfo, ProxyNack } from '../view.ts';
import type { AdmittedNode } from './admission.ts';

/** How much is kept of what a proxy says of a refusal. */
export const nackCharactersMax = 4096;

/** A response on its way: what it carried. */
interface Sent {
  readonly type: ResourceType;
  readonly versions: ReadonlyMap<string, string>;
  readonly bytes: number;
}

/** Where a resource stands with one proxy. */
export type Delivery =
  | { readonly kind: 'acked'; readonly version: string }
  | { readonly kind: 'pending'; readonly version: string }
  | { readonly kind: 'nacked'; readonly version: string; readonly message: string };

/** Whether a message speaks of a resource: in quotes as Heddle's sidecar does, or bare as Envoy does, but never of a part. */
function names(message: string, resource: string): boolean {
  if (message.includes(`"${resource}"`)) return true;
  if (resource === '') return false;
  for (let at = message.indexOf(resource); at >= 0; at = message.indexOf(resource, at + 1)) {
    const end = at + resource.length;
    const before = message.slice(Math.max(0, at - 1), at);
    if (!/[\w|.:/-]/.test(before) && !/^(?:[\w|/-]|[.:]\w)/.test(message.slice(end, end + 2))) return true;
  }
  return false;
}

/** Keeps, for one stream, what was sent and what became of it. */
export class DeliveryTracker {
  readonly node: AdmittedNode;
  readonly #clock: Clock;
  readonly #protocol: ProxyInfo['protocol'];
  readonly #connectedAtMs: number;
  readonly #unanswered = new Map<string, Sent>();
  readonly #deliveries = new Map<ResourceType, Map<string, Delivery>>();
  #lastAckAtMs: number | undefined;
  #lastNack: ProxyNack | undefined;
  #nonce = 0;
  #unansweredBytes = 0;

  constructor(node: AdmittedNode, protocol: ProxyInfo['protocol'], clock: Clock) {
    this.node = node;
    this.#protocol = protocol;
    this.#clock = clock;
    this.#connectedAtMs = clock.wallMs();
    for (const type of TYPES_IN_ORDER) this.#deliveries.set(type, new Map());
  }

  get unanswered(): number {
    return this.#unanswered.size;
  }

  /** Of the resources in all unanswered responses. */
  get unansweredBytes(): number {
    return this.#unansweredBytes;
  }

  /** Notes a response, whose resources have so many bytes, and gives its nonce. */
  sent(type: ResourceType, versions: ReadonlyMap<string, string>, bytes: number): string {
    this.#nonce++;
    const nonce = String(this.#nonce);
    this.#unanswered.set(nonce, { type, versions, bytes });
    this.#unansweredBytes += bytes;
    for (const [name, version] of versions) this.#of(type).set(name, { kind: 'pending', version });
    return nonce;
  }

  /** A version that the proxy says it holds already, from a stream before this one. */
  held(type: ResourceType, name: string, version: string): void {
    this.#of(type).set(name, { kind: 'acked', version });
  }

  /** The proxy doesn't hold it any more, nor what it refused of it. */
  forget(type: ResourceType, name: string): void {
    this.#of(type).delete(name);
    if (this.#lastNack?.type === shortType(type) && this.#lastNack.resource === name)
      this.#lastNack = undefined;
  }

  /** Returns false for a nonce that isn't open: a stale or repeated answer. */
  acked(nonce: string): boolean {
    const sent = this.#take(nonce);
    if (sent === undefined) return false;
    this.#lastAckAtMs = this.#clock.wallMs();
    const held = this.#of(sent.type);
    for (const [name, version] of sent.versions) {
      if (held.get(name)?.version === version) held.set(name, { kind: 'acked', version });
      const nack = this.#lastNack;
      if (nack?.type === shortType(sent.type) && (nack.resource === undefined || nack.resource === name)) {
        this.#lastNack = undefined;
      }
    }
    return true;
  }

  /** Where the message names resources of the response, only those count as refused. */
  nacked(nonce: string, text: string): boolean {
    const sent = this.#take(nonce);
    if (sent === undefined) return false;
    const message = text.slice(0, nackCharactersMax);
    const named = [...sent.versions.keys()].filter((name) => names(message, name));
    const held = this.#of(sent.type);
    for (const [name, version] of sent.versions) {
      if (held.get(name)?.version !== version) continue;
      const bad = named.length === 0 || named.includes(name);
      held.set(name, bad ? { kind: 'nacked', version, message } : { kind: 'acked', version });
    }
    this.#lastNack = {
      type: shortType(sent.type),
      resource: named[0] ?? (sent.versions.size === 1 ? [...sent.versions.keys()][0] : undefined),
      message,
      atMs: this.#clock.wallMs(),
    };
    return true;
  }

  delivery(type: ResourceType, name: string): Delivery | undefined {
    return this.#of(type).get(name);
  }

  /** Every resource of a type that this proxy was given. */
  deliveries(type: ResourceType): ReadonlyMap<string, Delivery> {
    return this.#of(type);
  }

  info(): ProxyInfo {
    const subscriptions: Record<string, number> = {};
    const pending: Record<string, number> = {};
    for (const [type, held] of this.#deliveries) {
      subscriptions[shortType(type)] = held.size;
      pending[shortType(type)] = [...held.values()].filter(({ kind }) => kind === 'pending').length;
    }
    const { nodeId, identity, client } = this.node;
    return {
      nodeId,
      pod: `${client.namespace}/${client.pod}`,
      identity,
      protocol: this.#protocol,
      connectedAtMs: this.#connectedAtMs,
      subscriptions,
      pending,
      lastAckAtMs: this.#lastAckAtMs,
      lastNack: this.#lastNack,
    };
  }

  #take(nonce: string): Sent | undefined {
    const sent = this.#unanswered.get(nonce);
    this.#unanswered.delete(nonce);
    this.#unansweredBytes -= sent?.bytes ?? 0;
    return sent;
  }

  #of(type: ResourceType): Map<string, Delivery> {
    const held = this.#deliveries.get(type);
    if (held === undefined) throw new Error(`no deliveries are kept for ${type}`);
    return held;
  }
}
