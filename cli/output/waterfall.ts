import type { JsonValue } from '../../common/json.ts';
import { at, listAt, numberAt, textAt } from '../kube/fields.ts';
import type { Palette } from './colour.ts';

/** A span of a trace as a line of the waterfall. Times in microseconds. */
export interface SpanRow {
  readonly depth: number;
  readonly service: string;
  readonly operation: string;
  readonly kind: string;
  readonly startUs: number;
  readonly durationUs: number;
  readonly failed: boolean;
  /** Of a copy for a mirror, or caused by one: the client waited for none of it. */
  readonly copy: boolean;
  readonly tags: ReadonlyMap<string, string>;
}

export interface WaterfallView {
  readonly palette: Palette;
  /** Width of the whole in characters. */
  readonly columns: number;
  /** Block characters for a person on a terminal, plain ones for a file. */
  readonly signs: boolean;
}

/** Spans nested deeper are drawn at this depth. */
const depthShownMax = 16;
const barColumnsMin = 16;
const barColumnsMax = 60;
/** Longer names are cut. */
const nameColumnsMax = 56;

/** The rows of a trace in Jaeger's shape: children under their parent, by start; spans without one are roots. */
export function rowsOf(trace: JsonValue): readonly SpanRow[] {
  const spans = listAt(trace, 'spans');
  const ids = new Set(spans.map(idOf));
  const children = Map.groupBy(spans, (span) => {
    const parent = parentOf(span);
    return ids.has(parent) && parent !== idOf(span) ? parent : '';
  });
  const rows: SpanRow[] = [];
  const seen = new Set<string>();
  const visit = (parent: string, depth: number, ofCopy: boolean) => {
    for (const span of (children.get(parent) ?? []).toSorted((a, b) => startOf(a) - startOf(b))) {
      if (seen.has(idOf(span))) continue;
      seen.add(idOf(span));
      const row = rowOf(trace, span, depth, ofCopy);
      rows.push(row);
      visit(idOf(span), depth + 1, row.copy);
    }
  };
  visit('', 0, false);
  // Spans that name each other as parents hang under no root.
  for (const span of spans) if (!seen.has(idOf(span))) rows.push(rowOf(trace, span, 0, false));
  return rows;
}

/** The waterfall: a line a span, with bar, duration, status and what the mesh noted. */
export function formatWaterfall(rows: readonly SpanRow[], view: WaterfallView): string {
  const startUs = Math.min(...rows.map((row) => row.startUs));
  const endUs = Math.max(...rows.map((row) => row.startUs + row.durationUs));
  const totalUs = Math.max(1, endUs - startUs);
  const names = rows.map(nameOf);
  const nameColumns = Math.min(nameColumnsMax, Math.max(...names.map((name) => name.length)));
  const notes = rows.map(noteOf);
  const noteColumns = Math.max(...notes.map((note) => note.length));
  const barColumns = Math.min(
    barColumnsMax,
    Math.max(barColumnsMin, view.columns - nameColumns - noteColumns - 14),
  );
  return rows
    .map((row, index) => {
      const name = cut(names[index] ?? '', nameColumns).padEnd(nameColumns);
      const bar = barOf(row, { startUs, totalUs, barColumns, signs: view.signs });
      const paint = row.failed ? view.palette.red : view.palette.green;
      const took = formatMicroseconds(row.durationUs).padStart(8);
      return `${name}  ${paint(bar)} ${took}  ${row.failed ? view.palette.red(notes[index] ?? '') : notes[index]}`.trimEnd();
    })
    .map((text) => `${text}\n`)
    .join('');
}

/** `850µs`, `12.3ms`, `1.20s`. */
export function formatMicroseconds(us: number): string {
  if (us < 1_000) return `${Math.round(us)}µs`;
  return us < 1_000_000
    ? `${(us / 1_000).toFixed(us < 100_000 ? 1 : 0)}ms`
    : `${(us / 1_000_000).toFixed(2)}s`;
}

function nameOf(row: SpanRow): string {
  const arrow = row.kind === 'client' ? '→ ' : '';
  return `${'  '.repeat(Math.min(row.depth, depthShownMax))}${row.service}  ${arrow}${row.operation}`;
}

/** Status, whether it is a copy's, then what is out of the ordinary: a breaker that isn't closed, the mesh's own reason, the route. */
function noteOf(row: SpanRow): string {
  const { tags } = row;
  const status = tags.get('http.response.status_code') ?? tags.get('http.status_code') ?? '';
  const breaker = tags.get('heddle.breaker.state');
  return [
    status,
    row.copy ? 'copy' : '',
    ...(breaker === undefined || breaker === 'closed' ? [] : [`breaker ${breaker}`]),
    tags.get('heddle.reason') ?? '',
    tags.get('heddle.route') ?? '',
  ]
    .filter((text) => text !== '')
    .join('  ');
}

function barOf(
  row: SpanRow,
  scale: { startUs: number; totalUs: number; barColumns: number; signs: boolean },
): string {
  const { startUs, totalUs, barColumns, signs } = scale;
  const from = Math.min(barColumns - 1, Math.floor(((row.startUs - startUs) / totalUs) * barColumns));
  const wide = Math.max(1, Math.round((row.durationUs / totalUs) * barColumns));
  const length = Math.min(wide, barColumns - from);
  return `${' '.repeat(from)}${(signs ? '█' : '=').repeat(length)}`.padEnd(barColumns);
}

function cut(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, columns - 1)}…`;
}

function rowOf(trace: JsonValue, span: JsonValue, depth: number, ofCopy: boolean): SpanRow {
  const tags = new Map(
    listAt(span, 'tags').map((tag) => [textAt(tag, 'key') ?? '', String(at(tag, 'value') ?? '')]),
  );
  return {
    depth,
    service: textAt(trace, 'processes', textAt(span, 'processID') ?? '', 'serviceName') ?? '',
    operation: textAt(span, 'operationName') ?? '',
    kind: tags.get('span.kind') ?? '',
    startUs: startOf(span),
    durationUs: numberAt(span, 'duration') ?? 0,
    failed: tags.get('error') === 'true',
    copy: ofCopy || tags.get('heddle.mirror') === 'true',
    tags,
  };
}

function idOf(span: JsonValue): string {
  return textAt(span, 'spanID') ?? '';
}

function startOf(span: JsonValue): number {
  return numberAt(span, 'startTime') ?? 0;
}

function parentOf(span: JsonValue): string {
  const parent = listAt(span, 'references').find((entry) => textAt(entry, 'refType') === 'CHILD_OF');
  return textAt(parent, 'spanID') ?? '';
}
