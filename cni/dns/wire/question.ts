import { CLASS_IN } from './numbers.ts';
import type { Question } from './query.ts';

/** A question of ours; `name` is one that `isWritableName` holds true of. */
export function plainQuestion(name: string, type: number): Question {
  const labels = name
    .split('.')
    .map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'));
  const bytes = Buffer.concat([...labels, Buffer.from([0, type >> 8, type & 0xff, 0, CLASS_IN])]);
  return { name, type, dnsClass: CLASS_IN, bytes };
}
