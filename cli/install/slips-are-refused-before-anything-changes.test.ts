import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { renderFirst } from './installation.ts';

leakCheck();

const ARGS = ['install', 'heddle', 'charts/heddle', '--set', 'apiServerHsot=1'];

test('Helm renders the chart with its values, and changes nothing', async () => {
  const asked: (readonly string[])[] = [];
  const helm = {
    async run(args: readonly string[]) {
      asked.push(args);
      return '';
    },
  };
  await renderFirst({ helm, dryRun: false }, ARGS);
  assert.deepEqual(asked, [[...ARGS, '--dry-run=client']]);
});

test('what Helm refuses ends it there', async () => {
  const helm = { run: () => Promise.reject(new HeddleError('helm', 'apiServerHsot not allowed')) };
  await assert.rejects(renderFirst({ helm, dryRun: false }, ARGS), /apiServerHsot not allowed/);
});

test('a dry run is rendered once', async () => {
  const helm = { run: () => Promise.reject(new HeddleError('helm', 'asked')) };
  await renderFirst({ helm, dryRun: true }, ARGS);
});
