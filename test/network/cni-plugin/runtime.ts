import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { GoTools } from './go-tools.ts';
import { PLUGIN_FOLDER } from './node-side.ts';

/** What libcni said to one step. */
export interface Said {
  readonly result?: Record<string, unknown>;
  readonly cached?: Record<string, unknown>;
  readonly version?: string;
  readonly code?: number;
  readonly error?: string;
  readonly names?: readonly string[];
  readonly took: number;
}

export interface RuntimeOptions {
  /** Folders of plugins, as in CNI_PATH; default: Heddle's own. */
  readonly plugins?: string;
  /** Path of the namespace that plugins take for the node's. */
  readonly netns?: string;
}

/** A container runtime with one network: `ask` performs one step of runtime/main.go with libcni itself. */
export class Runtime implements AsyncDisposable {
  readonly #child;
  readonly #lines;
  readonly #folder = mkdtempSync(join(tmpdir(), 'hdlt-d-runtime-'));

  constructor(tools: GoTools, conflist: string, { plugins = PLUGIN_FOLDER, netns }: RuntimeOptions = {}) {
    const file = join(this.#folder, '05-heddle.conflist');
    writeFileSync(file, conflist);
    const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`];
    const [command = '', ...args] = [...enter, tools.runtime, plugins, file, join(this.#folder, 'cache')];
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async ask(step: object): Promise<Said> {
    this.#child.stdin.write(`${JSON.stringify(step)}\n`);
    const { value, done } = await this.#lines.next();
    assert.ok(done !== true, 'the runtime ended');
    return JSON.parse(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, 'close');
    rmSync(this.#folder, { recursive: true });
  }
}
