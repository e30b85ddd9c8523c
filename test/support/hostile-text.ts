import type { Random } from '../../common/random.ts';

/** Bytes that parsers of HTTP/1 disagree about. */
const DISPUTED = [
  ...[
    '\r',
    '\n',
    '\r\n',
    '\0',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    '0',
    '5',
    'a',
    '\x0b',
    '\x80',
    '\xff',
    '"',
    'chunked',
  ],
];

export function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random.next() * list.length)] as T;
}

/** Changes a few bytes of every other text. */
export function mutated(random: Random, text: string): string {
  let out = text;
  const changes = random.next() < 0.5 ? 0 : 1 + Math.floor(random.next() * 3);
  for (let change = 0; change < changes; change++) {
    const at = Math.floor(random.next() * out.length);
    const skipped = Math.floor(random.next() * 3);
    out = out.slice(0, at) + (random.next() < 0.7 ? pick(random, DISPUTED) : '') + out.slice(at + skipped);
  }
  return out;
}

/** The text as it may come from a network. */
export function pieces(random: Random, text: string): string[] {
  const parts: string[] = [];
  for (let at = 0; at < text.length; ) {
    const size = random.next() < 0.5 ? text.length : 1 + Math.floor(random.next() * 40);
    parts.push(text.slice(at, at + size));
    at += size;
  }
  return parts;
}
