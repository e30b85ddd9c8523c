import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { jsonLogger } from '../../common/log.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { onceAddressIsThere } from './serve/await-address.ts';

leakCheck();

function failing(code: string): HeddleError {
  return new HeddleError('listen', 'no', { cause: Object.assign(new Error('bind'), { code }) });
}

test('an address that the node does not have yet is waited for, and said to be', async () => {
  const lines: string[] = [];
  const deps = { clock: systemClock, log: jsonLogger(systemClock, (line) => lines.push(line)) };
  let tries = 0;
  const listen = async () => {
    if (++tries < 3) throw failing('EADDRNOTAVAIL');
    return 'listening';
  };
  assert.equal(await onceAddressIsThere('192.0.2.7', listen, deps), 'listening');
  assert.equal(lines.length, 1, 'once in ten seconds');
  assert.match(lines[0] ?? '', /192\.0\.2\.7/);
});

test('an address that somebody else listens at is an error', async () => {
  const deps = { clock: systemClock, log: jsonLogger(systemClock, () => {}) };
  const listen = async () => Promise.reject(failing('EADDRINUSE'));
  await assert.rejects(onceAddressIsThere('192.0.2.7', listen, deps), { code: 'listen' });
});
