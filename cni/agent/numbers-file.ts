import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import { messageOf } from '../../common/errors.ts';
import { isJsonObject } from '../../common/json.ts';
import type { Logger } from '../../common/log.ts';
import type { PolicyNumbers } from '../policy/plan.ts';

/**
 * Numbers of identities, policy sets and classes of addresses, on disk: the maps of a node outlive its agent, and the next
 * one must mean the same by them.
 */
export class NumbersFile {
  readonly #path: string;
  readonly #log: Logger;
  #written = '';

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Undefined where there is none, or none that can be read: then all numbers are given anew. */
  read(): PolicyNumbers | undefined {
    try {
      const text = readIfThere(this.#path);
      if (text === undefined) return undefined;
      const value: unknown = JSON.parse(text);
      if (!isNumbers(value)) throw new TypeError('a part is missing');
      this.#written = text;
      return value;
    } catch (thrown) {
      this.#log.error('the numbers of the last run are unreadable', { error: messageOf(thrown) });
      return undefined;
    }
  }

  /** On disk when it returns. */
  write(numbers: PolicyNumbers): void {
    const text = `${JSON.stringify(numbers)}\n`;
    if (text === this.#written) return;
    writeAtomically(this.#path, text);
    this.#written = text;
  }
}

function isNumbers(value: unknown): value is PolicyNumbers {
  if (!isJsonObject(value)) return false;
  const { identities, sets, classes, next } = value;
  return [identities, sets, classes, next].every(isJsonObject);
}
