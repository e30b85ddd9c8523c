import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { TraceLimits } from './limits.ts';
import {
  ExportBuilder,
  emptyWireSpan,
  type Plain,
  type PlainAttribute,
  type WireResource,
  type WireScope,
  type WireSpan,
} from './otlp-span.ts';
import type { DecodedExport } from './span.ts';

/**
 * Reads OTLP's protobuf by hand: a span's times are nanoseconds beyond what the generated decoder's numbers hold, and
 * bounds have to act while decoding, not after. Field numbers are those of opentelemetry-proto 1.x.
 */

/** Called per field; returns whether it consumed the field. */
type OnField = (field: number, wire: number) => boolean;

const LENGTH_DELIMITED = 2;
const FIXED64 = 1;
const VARINT = 0;

function fields(reader: BinaryReader, end: number, onField: OnField): void {
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    if (!onField(field, wire)) reader.skip(wire, field);
    if (reader.pos > end) throw new RangeError('a field is longer than its message');
  }
}

/** The end of an embedded message whose length comes next. */
function embedded(reader: BinaryReader): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > reader.len) throw new RangeError('a message is longer than its container');
  return end;
}

function anyValue(reader: BinaryReader, end: number, depth: number): { value: Plain; double: boolean } {
  let value: Plain = null;
  let double = false;
  if (depth < 0) {
    reader.pos = end;
    return { value: '…', double };
  }
  fields(reader, end, (field, wire) => {
    if (field === 1 && wire === LENGTH_DELIMITED) value = reader.string();
    else if (field === 2 && wire === VARINT) value = reader.bool();
    else if (field === 3 && wire === VARINT) value = BigInt(reader.int64());
    else if (field === 4 && wire === FIXED64) {
      value = reader.double();
      double = true;
    } else if (field === 5 && wire === LENGTH_DELIMITED) value = arrayValue(reader, embedded(reader), depth);
    else if (field === 6 && wire === LENGTH_DELIMITED) {
      const list: PlainAttribute[] = [];
      fields(reader, embedded(reader), (inner, innerWire) => {
        if (inner !== 1 || innerWire !== LENGTH_DELIMITED) return false;
        list.push(keyValue(reader, embedded(reader), depth - 1));
        return true;
      });
      value = { entries: list.map((each) => [each.key, each.value] as const) };
    } else if (field === 7 && wire === LENGTH_DELIMITED) value = reader.bytes();
    else return false;
    return true;
  });
  return { value, double };
}

function arrayValue(reader: BinaryReader, end: number, depth: number): Plain[] {
  const list: Plain[] = [];
  fields(reader, end, (field, wire) => {
    if (field !== 1 || wire !== LENGTH_DELIMITED) return false;
    list.push(anyValue(reader, embedded(reader), depth - 1).value);
    return true;
  });
  return list;
}

function keyValue(reader: BinaryReader, end: number, depth: number): PlainAttribute {
  let key = '';
  let held: { value: Plain; double: boolean } = { value: null, double: false };
  fields(reader, end, (field, wire) => {
    if (wire !== LENGTH_DELIMITED) return false;
    if (field === 1) key = reader.string();
    else if (field === 2) held = anyValue(reader, embedded(reader), depth);
    else return false;
    return true;
  });
  return { key, value: held.value, ...(held.double ? { double: true } : {}) };
}

function attribute(reader: BinaryReader, into: PlainAttribute[], limits: TraceLimits): void {
  const end = embedded(reader);
  if (into.length >= limits.attributesPerSpanMax) reader.pos = end;
  else into.push(keyValue(reader, end, limits.attributeDepthMax));
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

function event(reader: BinaryReader, end: number, limits: TraceLimits): WireSpan['events'][number] {
  const made: WireSpan['events'][number] = { timeNs: 0n, name: '', attributes: [] };
  fields(reader, end, (field, wire) => {
    if (field === 1 && wire === FIXED64) made.timeNs = BigInt(reader.fixed64());
    else if (field === 2 && wire === LENGTH_DELIMITED) made.name = reader.string();
    else if (field === 3 && wire === LENGTH_DELIMITED) attribute(reader, made.attributes, limits);
    else return false;
    return true;
  });
  return made;
}

function link(reader: BinaryReader, end: number): WireSpan['links'][number] {
  const made = { traceId: '', spanId: '' };
  fields(reader, end, (field, wire) => {
    if (field === 1 && wire === LENGTH_DELIMITED) made.traceId = hex(reader.bytes());
    else if (field === 2 && wire === LENGTH_DELIMITED) made.spanId = hex(reader.bytes());
    else return false;
    return true;
  });
  return made;
}

function status(reader: BinaryReader, end: number, into: WireSpan): void {
  fields(reader, end, (field, wire) => {
    if (field === 2 && wire === LENGTH_DELIMITED) into.statusMessage = reader.string();
    else if (field === 3 && wire === VARINT) into.status = reader.int32();
    else return false;
    return true;
  });
}

function spanText(reader: BinaryReader, field: number, made: WireSpan): boolean {
  if (field === 1) made.traceId = hex(reader.bytes());
  else if (field === 2) made.spanId = hex(reader.bytes());
  else if (field === 3) made.traceState = reader.string();
  else if (field === 4) made.parentId = hex(reader.bytes());
  else if (field === 5) made.name = reader.string();
  else return false;
  return true;
}

function span(reader: BinaryReader, end: number, limits: TraceLimits): WireSpan {
  const made = emptyWireSpan();
  fields(reader, end, (field, wire) => {
    if (wire === LENGTH_DELIMITED && spanText(reader, field, made)) return true;
    if (field === 6 && wire === VARINT) made.kind = reader.int32();
    else if (field === 7 && wire === FIXED64) made.startNs = BigInt(reader.fixed64());
    else if (field === 8 && wire === FIXED64) made.endNs = BigInt(reader.fixed64());
    else if (wire !== LENGTH_DELIMITED) return false;
    else if (field === 9) attribute(reader, made.attributes, limits);
    else if (field === 11 && made.events.length < limits.eventsPerSpanMax)
      made.events.push(event(reader, embedded(reader), limits));
    else if (field === 13 && made.links.length < limits.linksPerSpanMax)
      made.links.push(link(reader, embedded(reader)));
    else if (field === 15) status(reader, embedded(reader), made);
    else return false;
    return true;
  });
  return made;
}

/** A part of the input to come back to: protobuf lets a scope follow its spans. */
interface Slice {
  readonly start: number;
  readonly end: number;
}

function scopeSpans(
  reader: BinaryReader,
  end: number,
  resource: WireResource,
  builder: ExportBuilder,
  limits: TraceLimits,
): void {
  const scope: WireScope = { name: '', version: '' };
  const spans: Slice[] = [];
  fields(reader, end, (field, wire) => {
    if (wire !== LENGTH_DELIMITED || (field !== 1 && field !== 2)) return false;
    const innerEnd = embedded(reader);
    if (field === 2) {
      spans.push({ start: reader.pos, end: innerEnd });
      reader.pos = innerEnd;
      return true;
    }
    fields(reader, innerEnd, (inner, innerWire) => {
      if (innerWire !== LENGTH_DELIMITED) return false;
      if (inner === 1) scope.name = reader.string();
      else if (inner === 2) scope.version = reader.string();
      else return false;
      return true;
    });
    return true;
  });
  for (const slice of spans) {
    if (builder.full()) {
      builder.add(resource, scope, emptyWireSpan());
      continue;
    }
    reader.pos = slice.start;
    builder.add(resource, scope, span(reader, slice.end, limits));
  }
  reader.pos = end;
}

function resourceSpans(reader: BinaryReader, end: number, builder: ExportBuilder, limits: TraceLimits): void {
  const resource: WireResource = { attributes: [] };
  const scopes: Slice[] = [];
  fields(reader, end, (field, wire) => {
    if (wire !== LENGTH_DELIMITED || (field !== 1 && field !== 2)) return false;
    const innerEnd = embedded(reader);
    if (field === 2) {
      scopes.push({ start: reader.pos, end: innerEnd });
      reader.pos = innerEnd;
      return true;
    }
    fields(reader, innerEnd, (inner, innerWire) => {
      if (inner !== 1 || innerWire !== LENGTH_DELIMITED) return false;
      attribute(reader, resource.attributes, limits);
      return true;
    });
    return true;
  });
  for (const slice of scopes) {
    reader.pos = slice.start;
    scopeSpans(reader, slice.end, resource, builder, limits);
  }
  reader.pos = end;
}

/** Decodes an `ExportTraceServiceRequest`. Throws where the bytes are not protobuf; a bad span alone is only rejected. */
export function decodeProtobufExport(bytes: Uint8Array, limits: TraceLimits): DecodedExport {
  const builder = new ExportBuilder(limits);
  const reader = new BinaryReader(bytes);
  fields(reader, reader.len, (field, wire) => {
    if (field !== 1 || wire !== LENGTH_DELIMITED) return false;
    resourceSpans(reader, embedded(reader), builder, limits);
    return true;
  });
  return builder.done();
}
