import { isJsonObject } from '../../common/json.ts';
import type { TraceLimits } from './limits.ts';
import { ExportBuilder, type Plain, type PlainAttribute, type WireSpan } from './otlp-span.ts';
import type { DecodedExport } from './span.ts';

/**
 * OTLP's JSON (opentelemetry-proto, "OTLP/HTTP, JSON Protobuf Encoding"): lowerCamelCase names, ids as hexadecimal, 64-bit
 * integers as text or numbers, enums as numbers, unknown fields ignored.
 */
type Fields = { readonly [key: string]: unknown };

function malformed(what: string): never {
  throw new TypeError(`malformed OTLP JSON: ${what}`);
}

function list(value: unknown, what: string): readonly Fields[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) malformed(`${what} is not a list`);
  return value.map((each) =>
    isJsonObject(each) ? each : malformed(`${what} holds something not an object`),
  );
}

function object(value: unknown, what: string): Fields {
  if (value === undefined || value === null) return {};
  return isJsonObject(value) ? value : malformed(`${what} is not an object`);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function integer(value: unknown): bigint {
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value);
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return BigInt(value);
  return 0n;
}

function small(value: unknown): number {
  const number = integer(value);
  return number >= 0n && number <= 16n ? Number(number) : 0;
}

function plain(value: unknown, depth: number): { value: Plain; double?: boolean } {
  if (!isJsonObject(value)) return { value: null };
  if (depth < 0) return { value: '…' };
  if (typeof value.stringValue === 'string') return { value: value.stringValue };
  if (typeof value.boolValue === 'boolean') return { value: value.boolValue };
  if (value.intValue !== undefined) return { value: integer(value.intValue) };
  // "NaN" and "Infinity" are how protobuf's JSON writes what JSON lacks.
  if (value.doubleValue !== undefined) return { value: Number(value.doubleValue), double: true };
  if (isJsonObject(value.arrayValue)) {
    const values = value.arrayValue.values;
    return { value: Array.isArray(values) ? values.map((each) => plain(each, depth - 1).value) : [] };
  }
  if (isJsonObject(value.kvlistValue)) {
    const entries = attributes(value.kvlistValue.values, Number.MAX_SAFE_INTEGER, depth - 1);
    return { value: { entries: entries.map((each) => [each.key, each.value] as const) } };
  }
  if (typeof value.bytesValue === 'string') return { value: Buffer.from(value.bytesValue, 'base64') };
  return { value: null };
}

function attributes(value: unknown, countMax: number, depth: number): PlainAttribute[] {
  return list(value, 'attributes')
    .slice(0, countMax)
    .map((each) => ({ key: text(each.key), ...plain(each.value, depth) }));
}

function wireSpan(from: Fields, limits: TraceLimits): WireSpan {
  const bounded = (value: unknown) =>
    attributes(value, limits.attributesPerSpanMax, limits.attributeDepthMax);
  const status = object(from.status, 'status');
  return {
    traceId: text(from.traceId).toLowerCase(),
    spanId: text(from.spanId).toLowerCase(),
    parentId: text(from.parentSpanId).toLowerCase(),
    name: text(from.name),
    kind: small(from.kind),
    startNs: integer(from.startTimeUnixNano),
    endNs: integer(from.endTimeUnixNano),
    traceState: text(from.traceState),
    status: small(status.code),
    statusMessage: text(status.message),
    attributes: bounded(from.attributes),
    events: list(from.events, 'events')
      .slice(0, limits.eventsPerSpanMax)
      .map((each) => ({
        timeNs: integer(each.timeUnixNano),
        name: text(each.name),
        attributes: bounded(each.attributes),
      })),
    links: list(from.links, 'links')
      .slice(0, limits.linksPerSpanMax)
      .map((each) => ({
        traceId: text(each.traceId).toLowerCase(),
        spanId: text(each.spanId).toLowerCase(),
      })),
  };
}

/** Decodes an export in JSON. Throws where it isn't OTLP's shape; a bad span alone is only rejected. */
export function decodeJsonExport(body: string, limits: TraceLimits): DecodedExport {
  const parsed: unknown = JSON.parse(body);
  if (!isJsonObject(parsed)) malformed('the body is not an object');
  const builder = new ExportBuilder(limits);
  for (const resourceSpans of list(parsed.resourceSpans, 'resourceSpans')) {
    const from = object(resourceSpans.resource, 'resource');
    const resource = {
      attributes: attributes(from.attributes, limits.attributesPerSpanMax, limits.attributeDepthMax),
    };
    for (const scopeSpans of list(resourceSpans.scopeSpans, 'scopeSpans')) {
      const named = object(scopeSpans.scope, 'scope');
      const scope = { name: text(named.name), version: text(named.version) };
      for (const span of list(scopeSpans.spans, 'spans'))
        builder.add(resource, scope, wireSpan(span, limits));
    }
  }
  return builder.done();
}
