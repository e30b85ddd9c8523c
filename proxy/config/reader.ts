import { METADATA_KEY } from '../../common/contracts.ts';
import type { Duration } from '../../common/gen/google/protobuf/duration.ts';
import { fromDuration } from '../../common/wire/values.ts';

/** The longest duration that configuration may name: a year. */
export const durationMaxMs = 365 * 24 * 3_600_000;

/** Why a resource can't be used: the field and what is wrong with it. Becomes part of a NACK. */
export class ConfigError extends Error {
  readonly field: string;
  constructor(field: string, message: string) {
    super(`${field}: ${message}`);
    this.name = 'ConfigError';
    this.field = field;
  }
}

/** Reads values whose shape isn't known, naming the field in every complaint. */
export class Reader {
  readonly path: string;
  readonly #value: unknown;

  constructor(value: unknown, path: string) {
    this.#value = value;
    this.path = path;
  }

  fail(message: string): never {
    throw new ConfigError(this.path, message);
  }

  get absent(): boolean {
    return this.#value === undefined || this.#value === null;
  }

  field(name: string): Reader {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return this.fail('must be an object');
    return new Reader(Object.getOwnPropertyDescriptor(value, name)?.value, `${this.path}.${name}`);
  }

  string(): string {
    return typeof this.#value === 'string' ? this.#value : this.fail('must be a string');
  }

  optionalString(): string | undefined {
    return this.absent ? undefined : this.string();
  }

  boolean(): boolean {
    return typeof this.#value === 'boolean' ? this.#value : this.fail('must be true or false');
  }

  number(min: number, max: number): number {
    const value = this.#value;
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      return this.fail(`must be a number from ${min} to ${max}`);
    }
    return value;
  }

  integer(min: number, max: number): number {
    const value = this.number(min, max);
    return Number.isInteger(value) ? value : this.fail('must be a whole number');
  }

  oneOf<const T extends string>(allowed: readonly T[]): T {
    const value = this.string();
    return (
      allowed.find((candidate) => candidate === value) ?? this.fail(`must be one of ${allowed.join(', ')}`)
    );
  }

  list<T>(read: (item: Reader, index: number) => T): T[] {
    const value = this.#value;
    if (!Array.isArray(value)) return this.fail('must be a list');
    return value.map((item, index) => read(new Reader(item, `${this.path}[${index}]`), index));
  }
}

interface HasMetadata {
  readonly metadata?: { readonly filterMetadata: { readonly [key: string]: unknown } } | undefined;
}

/** The metadata under Heddle's key; `path` names the object that carries it. */
export function heddleMetadataOf(message: HasMetadata, path: string): Reader {
  return new Reader(
    message.metadata?.filterMetadata[METADATA_KEY],
    `${path}.metadata.filter_metadata["${METADATA_KEY}"]`,
  );
}

/** Refuses a message that sets more than the named fields: what can't be honoured is never passed over in silence. */
export function onlyFields(message: object, allowed: readonly string[], path: string): void {
  for (const [name, value] of Object.entries(message)) {
    if (allowed.includes(name) || isUnset(value)) continue;
    throw new ConfigError(`${path}.${protoName(name)}`, 'is not supported by this proxy');
  }
}

/** A field as the protobuf files spell it: `rateLimits` is `rate_limits`. */
function protoName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Milliseconds from 0 to `durationMaxMs`; undefined where the field isn't set. */
export function optionalDurationMs(value: Duration | undefined, path: string): number | undefined {
  return value === undefined ? undefined : new Reader(fromDuration(value), path).number(0, durationMaxMs);
}

/** The same for a field that must be set. */
export function durationMs(value: Duration | undefined, path: string): number {
  const readMs = optionalDurationMs(value, path);
  if (readMs === undefined) throw new ConfigError(path, 'is missing');
  return readMs;
}

/** Refuses a resource whose own name is not the one that it was sent under: what refers to it would miss it. */
export function sameName(own: string, sentAs: string, field: string): void {
  if (own !== sentAs) throw new ConfigError(field, `is "${own}" in a resource named "${sentAs}"`);
}

/** Refuses a source of further resources that isn't the stream itself. */
export function overAdsOnly(
  source: { readonly configSourceSpecifier?: { readonly $case: string } | undefined } | undefined,
  path: string,
): void {
  if (source?.configSourceSpecifier?.$case !== 'ads') throw new ConfigError(path, 'must be ads');
}

function isUnset(value: unknown): boolean {
  if (value === undefined || value === '' || value === 0 || value === false) return true;
  if (Array.isArray(value) || Buffer.isBuffer(value)) return value.length === 0;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
