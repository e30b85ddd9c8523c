import { regexProblem } from '../../model/route/regex.ts';
import { ConfigError } from './reader.ts';

export const regexBytesMax = 4096;

/** Refuses what can't be matched, before a request meets it. */
export function checkRegex(regex: string, path: string): void {
  if (Buffer.byteLength(regex) > regexBytesMax)
    throw new ConfigError(path, `is longer than ${regexBytesMax} bytes`);
  const problem = regexProblem(regex);
  if (problem !== undefined) throw new ConfigError(path, problem);
}
