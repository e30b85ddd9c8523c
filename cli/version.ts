import { readFileSync } from 'node:fs';
import type { JsonValue } from '../common/json.ts';
import { textAt } from './kube/fields.ts';

/** Heddle's version, of this command. */
export function heddleVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return textAt(JSON.parse(text) as JsonValue, 'version') ?? 'unknown';
}
