import type { KubeKind } from '../../../sources/kubernetes/kinds.ts';
import { ByteStream } from './byte-stream.ts';
import type { ApiEvent, Select } from './fake-api.ts';
import type { Faults } from './faults.ts';

export interface WatchStreamOptions {
  readonly kind: KubeKind;
  readonly select: Select;
  readonly signal: AbortSignal;
  /** Only events of later versions are told, also where that is still to come. */
  readonly after: number;
  readonly faults: () => Faults;
  onClose(): void;
}

/** Events that are swallowed before the stream admits that it lost some. */
const LOST_BEFORE_GONE = 2;

/** One watch as its client receives it, with the faults that are drawn for its events. */
export class WatchStream {
  readonly kind: KubeKind;
  readonly body: ByteStream;
  readonly #select: Select;
  readonly #after: number;
  readonly #faults: () => Faults;
  #state: 'telling' | 'silent' | 'losing' = 'telling';
  #lost = 0;
  /** An event that is to come after the one that follows it. */
  #heldBack: ApiEvent | undefined;

  constructor({ kind, select, signal, after, faults, onClose }: WatchStreamOptions) {
    this.#after = after;
    this.kind = kind;
    this.#select = select;
    this.#faults = faults;
    this.body = new ByteStream(signal, onClose);
  }

  tell(event: ApiEvent): void {
    if (
      event.version <= this.#after ||
      event.kind !== this.kind ||
      !this.#select(event.object) ||
      this.body.ended
    )
      return;
    if (this.#state === 'silent') return;
    if (this.#state === 'losing') {
      this.#lost++;
      if (this.#lost >= LOST_BEFORE_GONE) this.#gone();
      return;
    }
    const held = this.#heldBack;
    if (held !== undefined) {
      this.#heldBack = undefined;
      this.body.push(lineOf(event) + lineOf(held));
      return;
    }
    this.#tell(event);
  }

  /** Nothing is known to be missing: what is held back is told first. */
  bookmark(version: number): void {
    if (this.#state !== 'telling' || this.body.ended) return;
    this.#flush();
    this.body.push(
      `${JSON.stringify({
        type: 'BOOKMARK',
        object: {
          ...{ apiVersion: this.kind.apiVersion, kind: this.kind.kind },
          metadata: { resourceVersion: String(version) },
        },
      })}\n`,
    );
  }

  end(): void {
    this.#flush();
    this.body.end();
  }

  /** What is held back was sent before the connection broke, so it has arrived. */
  fail(reason: unknown): void {
    this.#flush();
    this.body.fail(reason);
  }

  #tell(event: ApiEvent): void {
    const line = lineOf(event);
    switch (this.#faults().event()) {
      case undefined:
        this.body.push(line);
        return;
      case 'repeated':
        this.body.push(line + line);
        return;
      case 'swapped':
        this.#heldBack = event;
        return;
      case 'cut-in-line':
        this.body.push(line.slice(0, line.length / 2));
        this.body.fail(new Error('socket hang up'));
        return;
      case 'ended':
        this.body.push(line.slice(0, line.length / 3));
        this.body.end();
        return;
      case 'silent':
        this.#state = 'silent';
        return;
      case 'garbage':
        this.body.push('{"type":"MODIFIED","object":\n');
        return;
      case 'gone':
        this.#gone();
        return;
      case 'lost-then-gone':
        this.#state = 'losing';
        return;
      case 'lost':
        return;
    }
  }

  #flush(): void {
    if (this.#heldBack !== undefined) this.body.push(lineOf(this.#heldBack));
    this.#heldBack = undefined;
  }

  #gone(): void {
    const object = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
    this.body.push(`${JSON.stringify({ type: 'ERROR', object })}\n`);
    this.body.end();
  }
}

function lineOf({ type, object }: ApiEvent): string {
  return `${JSON.stringify({ type, object })}\n`;
}
