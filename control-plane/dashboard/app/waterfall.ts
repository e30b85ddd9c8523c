export interface TagView {
  readonly key: string;
  readonly type: string;
  readonly value: string | number | boolean;
}
export interface JaegerSpanView {
  readonly spanID: string;
  readonly operationName: string;
  readonly startTime: number;
  readonly duration: number;
  readonly references: readonly { readonly refType: string; readonly spanID: string }[];
  readonly tags: readonly TagView[];
  readonly logs: readonly { readonly timestamp: number; readonly fields: readonly TagView[] }[];
  readonly processID: string;
}
export interface JaegerTraceView {
  readonly traceID: string;
  readonly spans: readonly JaegerSpanView[];
  readonly processes: Readonly<
    Record<string, { readonly serviceName: string; readonly tags: readonly TagView[] }>
  >;
}

export interface Row {
  readonly span: JaegerSpanView;
  readonly service: string;
  readonly depth: number;
  readonly failed: boolean;
  /** Of a copy for a mirror, or caused by one: the client waited for none of it. */
  readonly copy: boolean;
  readonly attempt: string | undefined;
  readonly kind: string;
  readonly path: string | undefined;
  readonly status: string | undefined;
}

export function tagOf(span: JaegerSpanView, key: string): string | undefined {
  const tag = span.tags.find((each) => each.key === key);
  return tag === undefined ? undefined : String(tag.value);
}

/** Rows in the order of a waterfall: children under their parent, by start; spans whose parent is missing are roots. */
export function rowsOf(trace: JaegerTraceView): Row[] {
  const byId = new Map(trace.spans.map((span) => [span.spanID, span]));
  const children = new Map<string, JaegerSpanView[]>();
  for (const span of trace.spans) {
    const parent = span.references.find((each) => each.refType === 'CHILD_OF')?.spanID ?? '';
    const key = byId.has(parent) && parent !== span.spanID ? parent : '';
    children.set(key, [...(children.get(key) ?? []), span]);
  }
  const rows: Row[] = [];
  const seen = new Set<string>();
  const visit = (key: string, depth: number, ofCopy: boolean) => {
    const below = [...(children.get(key) ?? [])].sort((a, b) => a.startTime - b.startTime);
    for (const span of below) {
      if (seen.has(span.spanID)) continue;
      seen.add(span.spanID);
      const copy = ofCopy || tagOf(span, 'heddle.mirror') === 'true';
      rows.push(rowOf(trace, span, depth, copy));
      visit(span.spanID, depth + 1, copy);
    }
  };
  visit('', 0, false);
  // Spans that are each other's parents hang under no root.
  for (const span of trace.spans) {
    if (!seen.has(span.spanID)) rows.push(rowOf(trace, span, 0, false));
  }
  return rows;
}

function rowOf(trace: JaegerTraceView, span: JaegerSpanView, depth: number, copy: boolean): Row {
  return {
    span,
    service: trace.processes[span.processID]?.serviceName ?? '',
    depth,
    failed: tagOf(span, 'error') === 'true',
    copy,
    attempt: tagOf(span, 'heddle.attempt'),
    kind: tagOf(span, 'span.kind') ?? '',
    path: tagOf(span, 'url.path'),
    status: tagOf(span, 'http.response.status_code') ?? tagOf(span, 'http.status_code'),
  };
}
