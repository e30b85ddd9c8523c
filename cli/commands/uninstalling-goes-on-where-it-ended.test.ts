import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { removeRelease } from './uninstall.ts';

leakCheck();

const saying = (message: string) => ({
  ...{ release: 'heddle', revision: 'default', common: [], dryRun: false },
  helm: { run: () => Promise.reject(new HeddleError('helm', message)) },
});
const GONE = 'helm uninstall: Error: uninstall: Release not loaded: heddle: release: not found';

test('the pod network is removed although the release went before', async () => {
  assert.equal(await removeRelease(saying(GONE), true), '');
});

test('without --cni it is said what stayed and how it is removed', async () => {
  await assert.rejects(
    removeRelease(saying(GONE), false),
    /no revision default; heddle uninstall --cni removes/,
  );
  await assert.rejects(removeRelease({ ...saying(GONE), revision: 'next' }, false), /no revision next$/);
});

test('any other failure of Helm ends it, with --cni as well', async () => {
  await assert.rejects(removeRelease(saying('helm uninstall: Error: timed out'), true), /timed out/);
});
