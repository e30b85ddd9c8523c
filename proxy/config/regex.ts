import { RE2JS } from 're2js';
import { messageOf } from '../../common/errors.ts';
import { ConfigError } from './reader.ts';

export const regexBytesMax = 4096;

/** Refuses what RE2 can't compile, before a request meets it. */
export function checkRegex(regex: string, path: string): void {
  if (Buffer.byteLength(regex) > regexBytesMax)
    throw new ConfigError(path, `is longer than ${regexBytesMax} bytes`);
  try {
    RE2JS.compile(regex);
  } catch (thrown) {
    throw new ConfigError(path, `is not a regular expression of RE2: ${messageOf(thrown)}`);
  }
}
