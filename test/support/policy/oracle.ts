import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubeObject } from '../../../model/objects.ts';
import type { CasePort } from './case.ts';

const module = fileURLToPath(new URL('../../network/policy/oracle', import.meta.url));
const BUILD_TIMEOUT_MS = 600_000;
const ANSWER_TIMEOUT_MS = 240_000;
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

export interface Question {
  readonly namespaces: readonly KubeObject[];
  readonly pods: readonly KubeObject[];
  readonly policies: readonly KubeObject[];
  readonly senders: readonly string[];
  readonly receivers: readonly string[];
  readonly ports: readonly CasePort[];
}

/** What the oracle says of one probe. */
export interface OracleVerdict {
  readonly egress: boolean;
  readonly ingress: boolean;
}

/**
 * Builds the oracle once for each version of its sources, outside the checkout (a minute and a half the first time), and
 * gives its path. Throws where Go is missing or its modules can't be had.
 */
function buildOracle(): string {
  const files = readdirSync(module).filter((file) => /\.go$|^go\.(mod|sum)$/.test(file));
  const hash = createHash('sha256');
  for (const file of files.toSorted()) hash.update(readFileSync(join(module, file)));
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const directory = join(cache, 'heddle', 'policy-oracle');
  const program = join(directory, hash.digest('hex').slice(0, 16));
  if (existsSync(program)) return program;
  mkdirSync(directory, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const flags = ['build', '-trimpath', '-ldflags=-s -w', '-o', unfinished, '.'];
  const built = spawnSync('go', flags, { cwd: module, encoding: 'utf8', timeout: BUILD_TIMEOUT_MS });
  if (built.error !== undefined) throw new Error(`Go is not installed: ${built.error.message}`);
  if (built.status !== 0) throw new Error(`the oracle can't be built: ${built.stderr.slice(-2_000)}`);
  renameSync(unfinished, program);
  return program;
}

/** The answers to each question, in the order of `probesOf`. */
export function askOracle(questions: readonly Question[]): readonly (readonly OracleVerdict[])[] {
  const asked = spawnSync(buildOracle(), {
    ...{ input: `${questions.map((one) => JSON.stringify(one)).join('\n')}\n`, encoding: 'utf8' },
    ...{ timeout: ANSWER_TIMEOUT_MS, maxBuffer: ANSWER_BYTES_MAX },
  });
  if (asked.status !== 0)
    throw new Error(`the oracle failed: ${asked.error?.message ?? asked.stderr.slice(-2_000)}`);
  const lines = asked.stdout.trimEnd().split('\n');
  if (lines.length !== questions.length)
    throw new Error(`the oracle answered ${lines.length} of ${questions.length} questions`);
  return lines.map((line) => [...line].map(verdictOf));
}

function verdictOf(digit: string): OracleVerdict {
  const bits = Number(digit);
  return { egress: (bits & 1) !== 0, ingress: (bits & 2) !== 0 };
}
