import type { RequestView } from '../decision-types.ts';
import type { HashKey } from '../policy-types.ts';
import { queryValue } from '../route/compiled.ts';

/** FNV-1a with a final mix, 32 bits: even enough to spread keys, the same on every machine. */
export function hashText(text: string, seed = 0): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The text that a request is hashed by, or undefined where it hasn't got it. */
export function hashInput(key: HashKey, request: RequestView): string | undefined {
  switch (key.from) {
    case 'header':
      return request.header(key.name);
    case 'query':
      return queryValue(request.query, key.name);
    case 'sourceIp':
      return request.sourceAddress;
    case 'cookie':
      return cookieValue(request.header('cookie'), key.name);
  }
}

/** RFC 6265, section 4.2.1. */
function cookieValue(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(/[;,]\s*/) ?? []) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}
