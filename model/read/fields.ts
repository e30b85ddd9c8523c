import { durationMaxMs, formatDuration, parseDurationMs } from '../../common/duration.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';

export type FieldPath = readonly (string | number)[];

/** One field that can't be used as it stands. */
export interface FieldError {
  readonly path: FieldPath;
  readonly message: string;
  /** The Gateway API's word for it, where that isn't `UnsupportedValue`. */
  readonly reason?: 'IncompatibleFilters';
}

export interface Item {
  readonly value: unknown;
  readonly path: FieldPath;
}

/** `spec.rules[0].timeouts.request`. */
export function fieldName(path: FieldPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

const EMPTY: JsonObject = Object.freeze({});

/**
 * Reads an untrusted JSON object field by field. Whatever is wrong is put into `errors` and read as absent, so that a
 * caller never throws; keys that nobody asked for are reported by `finish`. Only own properties are looked at.
 */
export class Fields {
  readonly path: FieldPath;
  readonly errors: FieldError[];
  readonly #object: JsonObject;
  readonly #read = new Set<string>();

  constructor(value: unknown, path: FieldPath, errors: FieldError[]) {
    this.path = path;
    this.errors = errors;
    this.#object = isJsonObject(value) ? value : EMPTY;
    if (value !== undefined && value !== null && !isJsonObject(value)) this.error([], 'must be an object');
  }

  error(under: FieldPath, message: string, reason?: FieldError['reason']): undefined {
    const path = [...this.path, ...under];
    this.errors.push(reason === undefined ? { path, message } : { path, message, reason });
    return undefined;
  }

  /** The raw value; null counts as absent, as it does for the Kubernetes API. */
  raw(name: string): unknown {
    this.#read.add(name);
    if (!Object.hasOwn(this.#object, name)) return undefined;
    return this.#object[name] ?? undefined;
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  string(name: string, lengthMax = 4096): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') return this.error([name], 'must be a string');
    if (value.length > lengthMax) return this.error([name], `must have at most ${lengthMax} characters`);
    return value;
  }

  /** A string that must be there and not be empty. */
  required(name: string, lengthMax?: number): string | undefined {
    if (!this.has(name)) return this.error([name], 'is required');
    const value = this.string(name, lengthMax);
    return value === '' ? this.error([name], 'must not be empty') : value;
  }

  boolean(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === 'boolean') return value;
    return this.error([name], 'must be true or false');
  }

  integer(name: string, min: number, max: number): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      return this.error([name], `must be a whole number from ${min} to ${max}`);
    }
    return value;
  }

  number(name: string, min: number, max: number): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      return this.error([name], `must be a number from ${min} to ${max}`);
    }
    return value;
  }

  durationMs(name: string, minMs = 0, maxMs = durationMaxMs): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const parsed = typeof value === 'string' ? parseDurationMs(value) : undefined;
    if (parsed === undefined) {
      return this.error([name], `must be a duration such as 250ms, 5s or 1h30m, not ${shown(value)}`);
    }
    if (parsed < minMs) return this.error([name], `must be at least ${formatDuration(minMs)}`);
    if (parsed > maxMs) return this.error([name], `must be at most ${formatDuration(maxMs)}`);
    return parsed;
  }

  choice<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const found = allowed.find((one) => one === value);
    return found ?? this.error([name], `must be one of ${allowed.join(', ')}, not ${shown(value)}`);
  }

  /** An object inside, empty where it is absent or isn't one. */
  object(name: string): Fields {
    return new Fields(this.raw(name), [...this.path, name], this.errors);
  }

  list(name: string, itemsMax: number): readonly Item[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) {
      this.error([name], 'must be a list');
      return [];
    }
    if (value.length > itemsMax) this.error([name], `must have at most ${itemsMax} items`);
    return value
      .slice(0, itemsMax)
      .map((item, index) => ({ value: item, path: [...this.path, name, index] }));
  }

  /** A list of strings; what isn't one is reported. */
  texts(name: string, itemsMax: number): readonly { readonly value: string; readonly path: FieldPath }[] {
    return this.list(name, itemsMax).flatMap(({ value, path }) => {
      if (typeof value === 'string') return [{ value, path }];
      this.errors.push({ path, message: 'must be a string' });
      return [];
    });
  }

  /** A list of objects. */
  objects(name: string, itemsMax: number): readonly Fields[] {
    return this.list(name, itemsMax).map((item) => {
      if (item.value === null) this.errors.push({ path: item.path, message: 'must be an object' });
      return new Fields(item.value, item.path, this.errors);
    });
  }

  /** A list of strings of a closed set. */
  choices<T extends string>(name: string, allowed: readonly T[]): readonly T[] | undefined {
    if (!this.has(name)) return undefined;
    const values: T[] = [];
    for (const { value, path } of this.list(name, 64)) {
      const found = allowed.find((one) => one === value);
      if (found !== undefined) values.push(found);
      else {
        const message = `must be one of ${allowed.join(', ')}, not ${shown(value)}`;
        this.errors.push({ path, message });
      }
    }
    return values;
  }

  /** Reports what nobody read. Call it once everything known was asked for. */
  finish(): void {
    for (const key of Object.keys(this.#object)) {
      if (!this.#read.has(key)) this.error([key], 'is not a known field');
    }
  }
}

/** A value for a message, cut short. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
