import type { CommandSpec } from '../command-line.ts';
import { helpText, usageError } from '../command-line.ts';
import { EXIT } from '../context.ts';
import { didYouMean } from '../suggest.ts';
import { apply } from './apply.ts';
import { check } from './check.ts';
import { cni } from './cni.ts';
import { dashboard } from './dashboard.ts';
import { remove } from './delete.ts';
import { describe } from './describe.ts';
import { down } from './down.ts';
import { drops } from './drops.ts';
import { explain } from './explain.ts';
import { get } from './get.ts';
import { inject } from './inject.ts';
import { install } from './install.ts';
import { logs } from './logs.ts';
import { traces } from './traces.ts';
import { uninstall } from './uninstall.ts';
import { up } from './up.ts';
import { upgrade } from './upgrade.ts';
import { version } from './version.ts';

const help: CommandSpec = {
  name: 'help',
  summary: 'help for a command',
  usage: 'help [COMMAND]',
  description: 'Shows what a command does, or all commands.',
  examples: ['heddle help up'],
  options: {},
  positionalsMax: 1,
  async run(input, context) {
    const [name] = input.positionals;
    const command = name === undefined ? undefined : COMMANDS.get(name);
    if (name !== undefined && command === undefined)
      throw usageError(`unknown command "${name}"${didYouMean(name, [...COMMANDS.keys()])}`);
    context.out(command === undefined ? overview() : helpText(command));
    return EXIT.done;
  },
};

const ALL: readonly CommandSpec[] = [
  up,
  down,
  apply,
  get,
  describe,
  remove,
  logs,
  explain,
  check,
  traces,
  drops,
  cni,
  inject,
  dashboard,
  install,
  upgrade,
  uninstall,
  version,
  help,
];

export const COMMANDS: ReadonlyMap<string, CommandSpec> = new Map(
  ALL.map((command) => [command.name, command]),
);

/** What `heddle help` prints. */
export function overview(): string {
  const width = Math.max(...ALL.map((command) => command.name.length));
  const lines = ALL.map((command) => `  ${command.name.padEnd(width)}   ${command.summary}`);
  return `Heddle, a service mesh.\n\nUsage:\n  heddle COMMAND [options]\n\nCommands:\n${lines.join('\n')}\n\n"heddle COMMAND --help" says more.\n`;
}
