import assert from 'node:assert/strict';
import { parseAllDocuments } from 'yaml';
import { CommandInput, parseCommandLine } from '../../cli/command-line.ts';
import { inject } from '../../cli/commands/inject.ts';
import type { JsonValue } from '../../common/json.ts';
import { seededRandom } from '../../common/random.ts';
import { MemoryNetwork } from './memory-net.ts';
import { VirtualClock } from './virtual-clock.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `heddle inject` in a folder; of standard input where no file is named. */
export async function runInject(folder: string, stdin: string, ...args: readonly string[]): Promise<Ran> {
  let [out, err] = ['', ''];
  const input = parseCommandLine(inject, [...(args.includes('-f') ? [] : ['-f', '-']), ...args]);
  assert.ok(input instanceof CommandInput);
  const code = await inject.run(input, {
    ...{
      env: {},
      cwd: folder,
      clock: new VirtualClock(),
      random: seededRandom(1),
      node: '',
      nodeVersion: '',
    },
    ...{ dialer: new MemoryNetwork().dialer, terminal: false, colours: false, columns: 80 },
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    readStdin: async () => stdin,
    onInterrupt: () => () => undefined,
  });
  return { code, out, err };
}

/** The documents of a stream; fails where one can't be read. */
export function documentsOf(text: string): JsonValue[] {
  return parseAllDocuments(text).map((one) => {
    assert.deepEqual(one.errors, []);
    return one.toJS() as JsonValue;
  });
}
