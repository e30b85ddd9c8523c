import { RE2JS } from 're2js';
import { messageOf } from '../../common/errors.ts';
import { regexProgramSizeMax } from '../../common/regex-limits.ts';
import { ConfigError } from './reader.ts';

export const regexBytesMax = 4096;

/** Refuses what RE2 can't compile, before a request meets it. */
export function checkRegex(regex: string, path: string): void {
  if (Buffer.byteLength(regex) > regexBytesMax)
    throw new ConfigError(path, `is longer than ${regexBytesMax} bytes`);
  let size: number;
  try {
    size = RE2JS.compile(regex).programSize();
  } catch (thrown) {
    throw new ConfigError(path, `is not a regular expression of RE2: ${messageOf(thrown)}`);
  }
  if (size > regexProgramSizeMax)
    throw new ConfigError(path, `takes ${size} instructions of RE2, more than ${regexProgramSizeMax}`);
}
