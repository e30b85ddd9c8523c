import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LoadShape } from './cases.ts';

const SCRIPT = fileURLToPath(new URL('./load.lua', import.meta.url));

/** What wrk saw in one run. */
export interface LoadResult {
  readonly requests: number;
  readonly durationUs: number;
  readonly bytes: number;
  /** Requests that got no answer, or one above 399. */
  readonly failed: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

/** Loads `url` from as many connections as the case has, each sending its next request when it has its answer. */
export async function runLoad(
  url: string,
  shape: LoadShape,
  seconds: number,
  seat: number | undefined,
): Promise<LoadResult> {
  const headers = Object.entries(shape.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const wrk = ['wrk', '-t1', `-c${shape.connections}`, `-d${seconds}s`, '-s', SCRIPT, ...headers, url];
  const line = seat === undefined ? wrk : ['taskset', '-c', String(seat), ...wrk];
  const [program = 'wrk', ...args] = line;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = await once(child, 'close');
  const json = /^\{.*\}$/m.exec(text);
  if (code !== 0 || json === null) throw new Error(`wrk failed with ${String(code)}: ${text.trim()}`);
  return JSON.parse(json[0]) as LoadResult;
}
