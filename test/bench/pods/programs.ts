import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Place, spawnIn } from '../../network/sockets/program.ts';
import { eventually } from '../../support/wait.ts';
import type { LoadResult } from '../load.ts';
import { nginxConfig } from '../nginx-config.ts';
import { BULK_FILE, bulkBytes, type Measure } from './measures.ts';
import type { Way } from './way.ts';

const SCRIPT = fileURLToPath(new URL('../load.lua', import.meta.url));
const BULK_SCRIPT = fileURLToPath(new URL('./bulk.py', import.meta.url));
const answerMs = 20_000;
const refusedAfterSeconds = 0.3;

/** Servers and loads of one case, all on one processor. */
export class Programs {
  readonly #directory: string;
  readonly #seat: number;
  readonly #running: ChildProcess[] = [];

  constructor(directory: string, seat: number) {
    this.#directory = directory;
    this.#seat = seat;
  }

  /** Starts an nginx that answers `body` at every port of the place. */
  serve(place: Place, ports: readonly number[], body: string, host = '0.0.0.0'): void {
    const directory = join(this.#directory, String(this.#running.length));
    mkdirSync(directory);
    const user = place.uid ?? 0;
    chownSync(directory, user, user);
    writeFileSync(join(directory, BULK_FILE), '');
    truncateSync(join(directory, BULK_FILE), bulkBytes);
    const listens = ports.map((port) => `${host}:${port}`);
    const file = join(directory, 'nginx.conf');
    writeFileSync(file, nginxConfig({ directory, listens, body, file: BULK_FILE }));
    const child = this.#start(place, ['/usr/sbin/nginx', '-e', 'stderr', '-c', file, '-p', directory]);
    this.#running.push(child);
  }

  /** Loads a way for some seconds. Throws where the load can't run. */
  async load(way: Way, measure: Measure, seconds: number): Promise<LoadResult> {
    const { code, text } = await this.#run(way.client, commandOf(way, measure, seconds));
    const json = /^\{.*\}$/m.exec(text);
    if (code !== 0 || json === null)
      throw new Error(`the load of ${way.name} failed with ${String(code)}: ${text.trim()}`);
    return JSON.parse(json[0]) as LoadResult;
  }

  /** Waits until the right server answers, and what policy refuses is refused. */
  async check({ name, client, target, body, refused }: Way): Promise<void> {
    await eventually(async () => (await this.#ask(client, target)) === body, {
      ...{ deadlineMs: answerMs, what: `${name} answers at ${target}` },
    });
    if (refused === undefined) return;
    await eventually(async () => (await this.#ask(client, refused)) === '', {
      ...{ deadlineMs: answerMs, what: `${name} refuses ${refused}` },
    });
  }

  async stop(): Promise<void> {
    const children = this.#running.splice(0);
    await Promise.all(
      children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'close');
        child.kill('SIGKILL');
        await ended;
      }),
    );
  }

  async #ask(client: Place, target: string): Promise<string> {
    const limit = ['--max-time', String(refusedAfterSeconds)];
    const { text } = await this.#run(client, ['curl', '-s', ...limit, `http://${target}/`]);
    return text;
  }

  async #run(place: Place, command: readonly string[]): Promise<{ code: number | null; text: string }> {
    const child = this.#start(place, command);
    let text = '';
    child.stdout?.on('data', (data: Buffer) => {
      text += data.toString();
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, text };
  }

  #start(place: Place, command: readonly string[]): ChildProcess {
    return spawnIn(place, ['taskset', '-c', String(this.#seat), ...command]);
  }
}

function commandOf({ target }: Way, measure: Measure, seconds: number): readonly string[] {
  if (measure.name === 'bulk') return ['python3', BULK_SCRIPT, target, measure.path, String(seconds)];
  const { connections, path, headers, pauseMs = [] } = measure;
  const words = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const shape = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', SCRIPT];
  return ['wrk', ...shape, ...words, `http://${target}${path}`, '--', ...pauseMs.map(String)];
}
