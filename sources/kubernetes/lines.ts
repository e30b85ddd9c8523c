import { isJsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { badAnswer, parseObject } from './answers.ts';

export type WatchEventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';

/** One event of a watch. Of a bookmark only the resource version counts; an error's object is a Status. */
export interface WatchEvent {
  readonly type: WatchEventType;
  readonly object: KubeObject;
}

const TYPES: ReadonlySet<string> = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);
const NEWLINE = 10;

/** Cuts a watch's stream into its events. What follows the last line's end is an event that was cut off: it never was. */
export class EventLines {
  readonly #bytesMax: number;
  #rest: Uint8Array[] = [];
  #restBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The events that end in this chunk. Throws code `kubernetes-answer`. */
  push(chunk: Uint8Array): readonly WatchEvent[] {
    const events: WatchEvent[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const line = this.#lineWith(chunk.subarray(start, end));
      start = end + 1;
      if (line.trim() !== '') events.push(parseEvent(line));
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
    return events;
  }

  #lineWith(end: Uint8Array): string {
    this.#keep(end);
    const line = Buffer.concat(this.#rest).toString('utf8');
    this.#rest = [];
    this.#restBytes = 0;
    return line;
  }

  #keep(part: Uint8Array): void {
    this.#restBytes += part.byteLength;
    if (this.#restBytes > this.#bytesMax) throw badAnswer(`an event is longer than ${this.#bytesMax} bytes`);
    this.#rest.push(part);
  }
}

function parseEvent(line: string): WatchEvent {
  const { type, object } = parseObject(line);
  if (typeof type !== 'string' || !TYPES.has(type) || !isJsonObject(object))
    throw badAnswer(`an event of a watch has the type ${String(type)} and the object ${typeof object}`);
  return { type: type as WatchEventType, object: object as KubeObject };
}
