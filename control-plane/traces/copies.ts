import { MIRROR_TAG, type SpanRecord, STATUS, tagText } from './span.ts';

/** Of a copy for a mirror: the client waits for none of it and never learns what became of it. */
export function isCopy(span: SpanRecord): boolean {
  return tagText(span, MIRROR_TAG) === 'true';
}

/** The spans without copies and what those caused. */
export function originals(spans: readonly SpanRecord[]): readonly SpanRecord[] {
  if (!spans.some(isCopy)) return spans;
  const children = Map.groupBy(spans, ({ parentId }) => parentId);
  const left = new Set(spans);
  const gone = spans.filter(isCopy);
  for (const span of gone) {
    // Spans may name each other as parents: each goes once.
    if (left.delete(span)) gone.push(...(children.get(span.spanId) ?? []));
  }
  return [...left];
}

/** The spans that make their trace one with errors. */
export function errorsOf(spans: readonly SpanRecord[]): readonly SpanRecord[] {
  return originals(spans).filter(({ status }) => status === STATUS.error);
}
