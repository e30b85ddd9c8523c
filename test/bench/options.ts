import { parseArgs } from 'node:util';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { type BenchCase, CASES } from './cases.ts';
import { POD_CASES, type PodCase } from './pods/cases.ts';

/** Of proxies and of the pod network. */
export const ALL_CASES: readonly (BenchCase | PodCase)[] = [...CASES, ...POD_CASES];

export interface BenchOptions {
  readonly cases: readonly (BenchCase | PodCase)[];
  readonly json: boolean;
  readonly list: boolean;
  readonly rounds: number;
  /** Length of one measurement. */
  readonly seconds: number;
}

const ROUNDS_MAX = 100;
const SECONDS_MAX = 600;

const FLAGS = {
  case: { type: 'string', multiple: true },
  json: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
  rounds: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '3' },
} as const;

export const USAGE = `Usage: npm run bench -- [--case NAME ...] [--rounds N] [--seconds S] [--json] [--list]
  --case NAME   what to measure (default: every case); may be given more than once
  --rounds N    measurements of each peer, in turns (default 5)
  --seconds S   length of one measurement (default 3)
  --json        one JSON object a case, one a line
  --list        name the cases
`;

/** Throws a HeddleError `usage` where a flag is unknown or out of range. */
export function readOptions(args: readonly string[]): BenchOptions {
  try {
    const { values } = parseArgs({ args: [...args], options: FLAGS, strict: true });
    return {
      cases: values.case === undefined ? ALL_CASES : values.case.map(caseOf),
      json: values.json,
      list: values.list,
      rounds: count('rounds', values.rounds, ROUNDS_MAX),
      seconds: count('seconds', values.seconds, SECONDS_MAX),
    };
  } catch (thrown) {
    throw new HeddleError('usage', messageOf(thrown));
  }
}

function caseOf(name: string): BenchCase | PodCase {
  const found = ALL_CASES.find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new Error(`no case ${name}; there are: ${ALL_CASES.map((one) => one.name).join(', ')}`);
}

function count(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new Error(`--${flag} is a whole number from 1 to ${max}, not ${text}`);
}
