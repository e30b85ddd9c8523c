import { parseArgs } from 'node:util';
import { HeddleError, messageOf } from '../common/errors.ts';
import type { CliContext, ExitCode } from './context.ts';
import { didYouMean } from './suggest.ts';

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** What the value is called in the help: `--name NAME`. */
  readonly value?: string;
  readonly help: string;
}

export interface CommandSpec {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** After `heddle`: `apply -f FILE|DIR|-`. */
  readonly usage: string;
  readonly description: string;
  readonly examples: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly positionalsMax: number;
  run(input: CommandInput, context: CliContext): Promise<ExitCode>;
}

/** A parsed command line. */
export class CommandInput {
  readonly positionals: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(positionals: readonly string[], values: Readonly<Record<string, unknown>>) {
    this.positionals = positionals;
    this.#values = values;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' ? value : undefined;
  }

  texts(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** A whole number of `from` to `to`; wrong usage otherwise. */
  number(name: string, from: number, to: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < from || value > to)
      throw usageError(`--${name} must be a whole number from ${from} to ${to}, not "${text}"`);
    return value;
  }

  /** One of the given words; wrong usage otherwise. */
  choice<Word extends string>(name: string, words: readonly Word[], fallback: Word): Word {
    const text = this.text(name) ?? fallback;
    const found = words.find((word) => word === text);
    if (found === undefined) throw usageError(`--${name} must be one of ${words.join(', ')}, not "${text}"`);
    return found;
  }
}

export function usageError(message: string): HeddleError {
  return new HeddleError('usage', message);
}

/** Options that every command has. */
export const MESH_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  name: { type: 'string', value: 'NAME', help: 'name of the mesh (default "default")' },
  'state-dir': { type: 'string', value: 'PATH', help: 'state directory instead of the one of the name' },
};
const HELP_OPTION: OptionSpec = { type: 'boolean', short: 'h', help: 'this text' };

/** The arguments after the command's name; `help` where they ask for it. Fails with code `usage`. */
export function parseCommandLine(spec: CommandSpec, args: readonly string[]): CommandInput | 'help' {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string; multiple?: boolean }> = {};
  for (const [name, option] of Object.entries({ ...spec.options, help: HELP_OPTION }))
    options[name] = {
      type: option.type,
      ...(option.short === undefined ? {} : { short: option.short }),
      ...(option.multiple === undefined ? {} : { multiple: option.multiple }),
    };
  let parsed: { values: Readonly<Record<string, unknown>>; positionals: readonly string[] };
  try {
    parsed = parseArgs({ args: args.map(separated), options, allowPositionals: true, strict: true });
  } catch (thrown) {
    throw usageError(readable(messageOf(thrown), Object.keys(options)));
  }
  if (parsed.values.help === true) return 'help';
  if (parsed.positionals.length > spec.positionalsMax)
    throw usageError(`unexpected argument "${parsed.positionals[spec.positionalsMax]}"`);
  return new CommandInput(parsed.positionals, parsed.values);
}

/** `-n=shop` as kubectl takes it; node's parser would read the value as `=shop`. */
function separated(argument: string): string {
  return argument.replace(/^-([A-Za-z])=/, '-$1');
}

/** The parser's message without its advice about positionals, and with the option that may have been meant. */
function readable(message: string, names: readonly string[]): string {
  const [first = ''] = message.split(/\. To specify|\n/);
  const unknown = /^Unknown option '--([^']+)'/.exec(first);
  const text = `${first.charAt(0).toLowerCase()}${first.slice(1)}`;
  return unknown === null ? text : `${text}${didYouMean(unknown[1] ?? '', names, '--')}`;
}

export function helpText(spec: CommandSpec): string {
  const rows = Object.entries({ ...spec.options, help: HELP_OPTION }).map(([name, option]) => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `;
    return [
      `  ${short}--${name}${option.type === 'string' ? ` ${option.value ?? 'VALUE'}` : ''}`,
      option.help,
    ] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  const parts = [`${spec.description}\n`, `Usage:\n  heddle ${spec.usage}\n`];
  if (spec.examples.length > 0)
    parts.push(`Examples:\n${spec.examples.map((line) => `  ${line}`).join('\n')}\n`);
  parts.push(`Options:\n${rows.map(([left, right]) => `${left.padEnd(width)}   ${right}`).join('\n')}\n`);
  return parts.join('\n');
}
