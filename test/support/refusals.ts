import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../proxy/config/reader.ts';

type Case<T> = readonly [field: string, spoil: (message: T) => void];

/** Each message is sound but for one field, and the refusal begins with that field. */
export function refuses<T>(
  what: string,
  make: () => T,
  decode: (message: T) => unknown,
  cases: readonly Case<T>[],
): void {
  for (const [field, spoil] of cases) {
    test(`${what}: ${field}`, () => {
      const message = make();
      spoil(message);
      assert.throws(
        () => decode(message),
        (thrown) => {
          assert.ok(thrown instanceof ConfigError, String(thrown));
          assert.equal(thrown.field, field);
          assert.ok(thrown.message.startsWith(`${field}: `));
          return true;
        },
      );
    });
  }
}

/** A part that a sample is known to have. */
export function some<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the sample lacks a part that the test spoils');
  return value;
}
