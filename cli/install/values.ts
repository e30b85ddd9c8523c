import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'yaml';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';

type Mutable = { [key: string]: JsonValue | undefined };

/** What the checks need to know of an installation before Helm has rendered it. */
export interface PlannedValues {
  readonly cniEnabled: boolean;
  /** `tunnel`, `direct` or `capture`. */
  readonly cniMode: string;
  readonly dnsEnabled: boolean;
  readonly dnsCreatesService: boolean;
  readonly dnsAddress: string;
  readonly apiServerHost: string;
}

/**
 * The chart's values with files and `--set` over them, as Helm merges them: maps key by key, everything else whole. Of the
 * language of `--set`, plain paths are read (`a.b=c,d=e`); what it has beyond that is Helm's to judge, and left out here.
 */
export function mergedValues(
  defaults: JsonObject,
  files: readonly string[],
  sets: readonly string[],
  cwd: string,
): JsonObject {
  let values = defaults;
  for (const file of files) values = merge(values, readValues(resolve(cwd, file)));
  for (const pair of sets.flatMap((set) => set.split(/(?<!\\),/))) {
    const match = /^([\w-]+(?:\.[\w-]+)*)=(.*)$/.exec(pair);
    if (match !== null) values = merge(values, nested((match[1] ?? '').split('.'), match[2] ?? ''));
  }
  return values;
}

export function plannedValues(values: JsonObject): PlannedValues {
  const part = (name: string): JsonObject => {
    const found = values[name];
    return isJsonObject(found) ? found : {};
  };
  const { cni, dns } = { cni: part('cni'), dns: part('dns') };
  const cniMode = String(cni.mode);
  return {
    cniEnabled: isTrue(cni.enabled),
    cniMode,
    dnsEnabled: isTrue(cni.enabled) && isTrue(dns.enabled) && cniMode !== 'capture',
    dnsCreatesService: isTrue(dns.createService),
    dnsAddress: String(dns.clusterIP),
    apiServerHost: String(values.apiServerHost ?? ''),
  };
}

function isTrue(value: JsonValue | undefined): boolean {
  return value === true || value === 'true';
}

function readValues(path: string): JsonObject {
  let read: unknown;
  try {
    read = parse(readFileSync(path, 'utf8')) ?? {};
  } catch (thrown) {
    throw new HeddleError('file', `${path}: ${messageOf(thrown)}`);
  }
  if (!isJsonObject(read))
    throw new HeddleError('file', `${path}: values are a map, such as "cni: {mode: tunnel}"`);
  return read;
}

function merge(under: JsonObject, over: JsonObject): JsonObject {
  const result: Mutable = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const before = Object.hasOwn(under, key) ? under[key] : undefined;
    result[key] = isJsonObject(value) && isJsonObject(before) ? merge(before, value) : value;
  }
  return result;
}

function nested(path: readonly string[], value: string): JsonObject {
  return path.reduceRight<JsonObject | string>((inner, key) => ({ [key]: inner }), value) as JsonObject;
}
