import { isJsonObject } from '../../common/json.ts';
import type { KubeObject } from '../objects.ts';
import type { FieldError } from './fields.ts';

/** Own string values of an untrusted label or annotation map. */
export function stringMap(value: unknown): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (!isJsonObject(value)) return found;
  for (const [key, text] of Object.entries(value)) {
    if (typeof text === 'string') found.set(key, text);
  }
  return found;
}

export function namespaceOf(object: KubeObject): string {
  return textOf(object.metadata.namespace) ?? 'default';
}

/** `shop/catalog`: the key of a namespaced object, also where it names no namespace. */
export function keyOf(object: KubeObject): string {
  return `${namespaceOf(object)}/${object.metadata.name}`;
}

/** `HTTPRoute shop/catalog`, or `Node n1` where no namespace is named. */
export function labelOf(object: KubeObject): string {
  const namespace = textOf(object.metadata.namespace);
  return `${object.kind} ${namespace === undefined ? '' : `${namespace}/`}${object.metadata.name}`;
}

const TOP_LEVEL: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'metadata', 'spec', 'status']);

/** What stands beside `spec` and has no place there: a field that slipped out of it would have no effect. */
export function strayFields(object: KubeObject): readonly FieldError[] {
  return Object.keys(object)
    .filter((key) => !TOP_LEVEL.has(key))
    .map((key) => ({ path: [key], message: 'is not a known field' }));
}

/** Milliseconds since the Unix epoch; 0 where there is no readable creationTimestamp, as with files. */
export function createdAtMs(object: KubeObject): number {
  const parsed = Date.parse(textOf(object.metadata.creationTimestamp) ?? '');
  return Number.isFinite(parsed) ? parsed : 0;
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function portOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
    ? value
    : undefined;
}

/** The objects of a list; anything else in it is left out. */
export function objectsOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

export function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return isJsonObject(value) ? value : {};
}

interface PortList {
  has(port: number): boolean;
  readonly bad: readonly string[];
}

const NO_PORTS: PortList = { has: () => false, bad: [] };

/** A number list such as `8080,9000-9010` in an annotation; parts that aren't ports are given back as `bad`. */
export function portList(text: string | undefined): PortList {
  if (text === undefined) return NO_PORTS;
  const ranges: (readonly [number, number])[] = [];
  const bad: string[] = [];
  for (const part of text.split(',').map((one) => one.trim())) {
    if (part === '') continue;
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    const from = Number(match?.[1] ?? 0);
    const to = Number(match?.[2] ?? from);
    if (portOf(from) === undefined || portOf(to) === undefined || to < from) bad.push(part);
    else ranges.push([from, to]);
  }
  return { has: (port) => ranges.some(([from, to]) => port >= from && port <= to), bad };
}
