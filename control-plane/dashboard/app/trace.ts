/// <reference lib="dom" />
import { useState } from 'preact/hooks';
import { useLive } from './api.ts';
import { count, duration, fullTime, hue } from './format.ts';
import { html } from './html.ts';
import { Empty, Failure, Reasons, type ReasonView, Service } from './parts.ts';
import { type JaegerSpanView, type JaegerTraceView, type Row, rowsOf, tagOf } from './waterfall.ts';

const FACTS: readonly (readonly [key: string, label: string])[] = [
  ['heddle.route', 'Route'],
  ['heddle.cluster', 'Backend'],
  ['heddle.endpoint', 'Endpoint'],
  ['heddle.breaker.state', 'Breaker'],
  ['heddle.peer', 'Peer'],
  ['heddle.reason', 'Mesh answered'],
  ['heddle.attempts', 'Attempts'],
];

function reasonsOf(span: JaegerSpanView): ReasonView[] {
  const text = tagOf(span, 'heddle.reasons');
  if (text === undefined) return [];
  try {
    const parsed = JSON.parse(text);
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    // Cut at the size limit: what is left is shown as it is.
    return [{ stage: 'recorded', subject: 'cut short', outcome: 'info', text }];
  }
}

function Details({ row }: { readonly row: Row }) {
  const { span } = row;
  const reasons = reasonsOf(span);
  const facts = FACTS.flatMap(([key, label]) => {
    const value = tagOf(span, key);
    return value === undefined ? [] : [{ label, value }];
  });
  const tags = span.tags.filter((tag) => tag.key !== 'heddle.reasons');
  return html`<div class="details">
    ${facts.length > 0 && html`<dl class="facts">${facts.map((fact) => html`<div><dt>${fact.label}</dt><dd class="mono">${fact.value}</dd></div>`)}</dl>`}
    ${reasons.length > 0 && html`<section aria-label="Reasons"><h3>Why it went this way</h3><${Reasons} reasons=${reasons} /></section>`}
    ${
      span.logs.length > 0 &&
      html`<section><h3>Events</h3><ul class="plain">${span.logs.map(
        (log) =>
          html`<li><span class="num muted">+${duration(log.timestamp - span.startTime)}</span> ${log.fields.map((field) => `${field.key}=${field.value}`).join(' ')}</li>`,
      )}</ul></section>`
    }
    <section><h3>Tags</h3><dl class="tags">${tags.map((tag) => html`<div><dt>${tag.key}</dt><dd class="mono">${String(tag.value)}</dd></div>`)}</dl></section>
  </div>`;
}

/** The operation with the path asked for, unless its name has it already. */
function operation({ span, path }: Row): string {
  return path === undefined || span.operationName.includes('/')
    ? span.operationName
    : `${span.operationName} ${path}`;
}

function Line({
  row,
  startUs,
  totalUs,
}: {
  readonly row: Row;
  readonly startUs: number;
  readonly totalUs: number;
}) {
  const [open, setOpen] = useState(false);
  const { span } = row;
  const left = (100 * (span.startTime - startUs)) / totalUs;
  const width = Math.max(0.4, Math.min(100 - left, (100 * span.duration) / totalUs));
  const indent = Math.min(row.depth, 12);
  const id = `span-${span.spanID}`;
  const breaker = tagOf(span, 'heddle.breaker.state');
  return html`<li class=${`span ${row.failed ? 'failed' : ''} ${row.copy ? 'copy' : ''}`}>
    <button type="button" class="span-row" aria-expanded=${open} aria-controls=${id} onClick=${() => setOpen(!open)}>
      <span class=${`span-name indent-${indent}`}>
        <span class="twist" aria-hidden="true">${open ? '▾' : '▸'}</span>
        <i class=${`dot hue-${hue(row.service)}`}></i>
        <span class="span-text"><strong>${row.service}</strong>
          <span class="op">${row.attempt && row.kind !== 'server' ? `attempt ${row.attempt}` : operation(row)}</span></span>
      </span>
      <span class="span-bar"><span class=${`bar hue-${hue(row.service)} ${row.attempt ? 'attempt' : ''} ${row.failed ? 'bar-bad' : ''}`}
        style=${{ marginInlineStart: `${left}%`, width: `${width}%` }}></span></span>
      <span class="span-meta num">
        ${breaker && breaker !== 'closed' && html`<span class="chip chip-warn">breaker ${breaker}</span>`}
        ${row.copy && html`<span class="chip">copy</span>`}
        ${row.status && html`<span class=${`chip ${row.failed ? 'chip-bad' : ''}`}>${row.status}</span>`}
        ${row.failed && !row.status && html`<span class="chip chip-bad">error</span>`}
        ${duration(span.duration)}</span>
    </button>
    <div id=${id} hidden=${!open}>${open && html`<${Details} row=${row} />`}</div>
  </li>`;
}

function lengthUs(spans: readonly JaegerSpanView[]): number {
  const endUs = Math.max(...spans.map((span) => span.startTime + span.duration));
  return endUs - Math.min(...spans.map((span) => span.startTime));
}

export function Trace({ id }: { readonly id: string }) {
  const found = useLive<{ data: JaegerTraceView[]; errors: readonly { readonly msg: string }[] | null }>(
    `/api/traces/${id}`,
    ['traces'],
  );
  const trace = found.data?.data[0];
  if (trace === undefined) {
    return html`<h1>Trace</h1>${
      found.error &&
      html`<${Empty} title="This trace is not here"><p>${found.error}. It may have been removed by age, or its spans have not arrived yet.</p><p><a href="/traces">All traces</a></p><//>`
    }`;
  }
  const rows = rowsOf(trace);
  const startUs = Math.min(...trace.spans.map((span) => span.startTime));
  const endUs = Math.max(...trace.spans.map((span) => span.startTime + span.duration));
  const totalUs = Math.max(1, endUs - startUs);
  const asked = rows.filter((row) => !row.copy).map(({ span }) => span);
  const services = [...new Set(rows.map((row) => row.service))];
  const root = rows[0];
  return html`<p class="crumb"><a href="/traces">Traces</a></p>
    <h1>${root && html`<${Service} name=${root.service} />`} <span class="op">${root && operation(root)}</span></h1>
    <p class="muted">${fullTime(startUs)} · <strong>${duration(lengthUs(asked.length > 0 ? asked : trace.spans))}</strong> · ${count(rows.length, 'span')} · ${count(services.length, 'service')} · <span class="mono id">${trace.traceID}</span></p>
    <${Failure} error=${found.error} />
    ${(found.data?.errors ?? []).map(({ msg }) => html`<p key=${msg} class="banner warn" role="status">This trace may have more spans: ${msg}.</p>`)}
    <p class="legend">${services.map((name) => html`<${Service} name=${name} />`)}</p>
    <div class="axis" aria-hidden="true">${[0, 0.25, 0.5, 0.75, 1].map((share) => html`<span>${duration(totalUs * share)}</span>`)}</div>
    <ol class="waterfall" aria-label="Spans">${rows.map((row) => html`<${Line} key=${row.span.spanID} row=${row} startUs=${startUs} totalUs=${totalUs} />`)}</ol>
    <p><a class="button" href=${`/explain?trace=${trace.traceID}`}>Explain this request with today's configuration</a></p>`;
}
