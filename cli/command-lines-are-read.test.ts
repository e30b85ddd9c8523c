import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../common/errors.ts';
import { leakCheck } from '../test/support/leak-check.ts';
import { CommandInput, type CommandSpec, helpText, parseCommandLine } from './command-line.ts';
import { COMMANDS, overview } from './commands/index.ts';

leakCheck();

const spec: CommandSpec = {
  name: 'weave',
  summary: 'weave',
  usage: 'weave THREAD [-n NAMESPACE]',
  description: 'Weaves.',
  examples: ['heddle weave warp'],
  options: {
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'where' },
    header: { type: 'string', short: 'H', multiple: true, value: 'HEADER', help: 'what' },
    follow: { type: 'boolean', short: 'f', help: 'go on' },
  },
  positionalsMax: 1,
  run: async () => 0,
};

function parsed(...args: string[]): CommandInput {
  const input = parseCommandLine(spec, args);
  assert.ok(input instanceof CommandInput);
  return input;
}

function refusal(...args: string[]): string {
  try {
    parseCommandLine(spec, args);
  } catch (thrown) {
    assert.ok(thrown instanceof HeddleError);
    assert.equal(thrown.code, 'usage');
    return thrown.message;
  }
  return assert.fail(`${args.join(' ')} was taken`);
}

test('options stand before and after arguments, and repeat where they may', () => {
  const input = parsed('-H', 'a: 1', 'warp', '-n', 'shop', '--header=b: 2', '-f');
  assert.deepEqual(input.positionals, ['warp']);
  assert.equal(input.text('namespace'), 'shop');
  assert.deepEqual(input.texts('header'), ['a: 1', 'b: 2']);
  assert.equal(input.flag('follow'), true);
});

test('a short option takes its value in every way that kubectl knows', () => {
  for (const args of [['-n', 'shop'], ['-nshop'], ['-n=shop'], ['--namespace', 'shop'], ['--namespace=shop']])
    assert.equal(parsed(...args).text('namespace'), 'shop', args.join(' '));
  assert.equal(parsed('-H', 'x-user=beta').texts('header')[0], 'x-user=beta');
});

test('help is asked for beside anything else', () => {
  assert.equal(parseCommandLine(spec, ['warp', '--help']), 'help');
  assert.equal(parseCommandLine(spec, ['-h']), 'help');
});

test('an unknown option is named, with the one that may have been meant', () => {
  assert.match(
    refusal('--namespcae', 'shop'),
    /unknown option '--namespcae' \(did you mean "--namespace"\?\)/,
  );
  assert.match(refusal('--zzz'), /^unknown option '--zzz'$/);
});

test('a missing value and an argument too many are refused', () => {
  assert.match(refusal('-n'), /argument missing/);
  assert.equal(refusal('warp', 'weft'), 'unexpected argument "weft"');
});

test('numbers and choices outside their bounds are refused with the bounds', () => {
  const input = new CommandInput([], { tail: '-3', port: '70000', output: 'xml', nodes: '2' });
  assert.throws(() => input.number('tail', 0, 10), /--tail must be a whole number from 0 to 10, not "-3"/);
  assert.throws(() => input.number('port', 0, 65_535), /not "70000"/);
  assert.throws(() => input.choice('output', ['json', 'name'], 'json'), /one of json, name, not "xml"/);
  assert.equal(input.number('nodes', 1, 250), 2);
  assert.equal(input.number('absent', 1, 2), undefined);
  assert.equal(input.choice('absent', ['json'], 'json'), 'json');
});

test('help lists every option with its value, and the examples', () => {
  const text = helpText(spec);
  assert.match(text, /Usage:\n {2}heddle weave THREAD/);
  assert.match(text, /-n, --namespace NAMESPACE {3}where/);
  assert.match(text, /-h, --help {2,}this text/);
  assert.match(text, /Examples:\n {2}heddle weave warp/);
});

test('every command says in one line what it does, and its help names all its options', () => {
  for (const [name, command] of COMMANDS) {
    assert.ok(overview().includes(`  ${name}`), name);
    assert.match(command.usage, new RegExp(`^${name}\\b`));
    assert.ok(command.summary.length <= 60 && !command.summary.endsWith('.'), name);
    for (const option of Object.keys(command.options)) assert.ok(helpText(command).includes(`--${option}`));
  }
});
