/// <reference lib="dom" />
import { useLive } from './api.ts';
import { clockTime, count, duration, fullTime } from './format.ts';
import { html } from './html.ts';
import { Empty, Failure, Missing, type MissingView, Service } from './parts.ts';
import { go } from './router.ts';

interface Summary {
  readonly traceId: string;
  readonly startUs: number;
  readonly durationUs: number;
  readonly rootService: string;
  readonly rootOperation: string;
  readonly rootPath?: string;
  readonly status?: string;
  readonly failed: boolean;
  readonly spans: number;
  readonly errors: number;
  readonly retries: number;
  readonly copies: number;
  readonly services: readonly { readonly name: string; readonly spans: number }[];
}

function apply(event: Event): void {
  event.preventDefault();
  const form = new FormData(event.currentTarget as HTMLFormElement);
  const id = String(form.get('id') ?? '').trim();
  if (/^[0-9a-fA-F]{1,32}$/.test(id)) {
    go(`/traces/${id}`);
    return;
  }
  const params = new URLSearchParams();
  for (const name of ['service', 'minDuration', 'tag', 'errors']) {
    const value = String(form.get(name) ?? '').trim();
    if (value !== '') params.set(name, value);
  }
  go(`/traces${params.size > 0 ? `?${params}` : ''}`);
}

function Filters({
  params,
  services,
}: {
  readonly params: URLSearchParams;
  readonly services: readonly string[];
}) {
  return html`<form class="filters" onSubmit=${apply} role="search" aria-label="Traces">
    <label>Service<select name="service"><option value="">all</option>
      ${services.map((name) => html`<option value=${name} selected=${params.get('service') === name}>${name}</option>`)}
    </select></label>
    <label>At least<input name="minDuration" placeholder="100ms" value=${params.get('minDuration') ?? ''} size="8" /></label>
    <label>Tag<input name="tag" placeholder="key:value" value=${params.get('tag') ?? ''} /></label>
    <label>Trace id<input name="id" placeholder="hexadecimal" class="mono" /></label>
    <label class="check"><input type="checkbox" name="errors" value="1" checked=${params.get('errors') === '1'} /> Errors only</label>
    <button type="submit">Show</button>
  </form>`;
}

function Row({ trace, longest }: { readonly trace: Summary; readonly longest: number }) {
  const share = Math.max(1, (100 * trace.durationUs) / longest);
  return html`<li><a class=${`trace ${trace.failed ? 'failed' : ''}`} href=${`/traces/${trace.traceId}`}>
    <span class="trace-main"><${Service} name=${trace.rootService} /> <span class="op">${trace.rootOperation}${trace.rootPath && !trace.rootOperation.includes('/') ? ` ${trace.rootPath}` : ''}</span></span>
    <time class="muted" title=${fullTime(trace.startUs)}>${clockTime(trace.startUs)}</time>
    <span class="bar-cell"><span class="bar-track"><span class="bar" style=${{ width: `${share}%` }}></span></span>
      <span class="num">${duration(trace.durationUs)}</span></span>
    <span class="chips">
      ${trace.status && html`<span class=${`chip ${Number(trace.status) >= 500 ? 'chip-bad' : ''}`}>${trace.status}</span>`}
      <span class="chip">${count(trace.spans, 'span')}</span>
      ${trace.retries > 0 && html`<span class="chip chip-warn">${count(trace.retries, 'retry', 'retries')}</span>`}
      ${trace.copies > 0 && html`<span class="chip">${count(trace.copies, 'copy', 'copies')}</span>`}
      ${trace.errors > 0 && html`<span class="chip chip-bad">${count(trace.errors, 'error')}</span>`}
    </span>
  </a></li>`;
}

export function Traces({ params }: { readonly params: URLSearchParams }) {
  const query = new URLSearchParams(params);
  query.set('limit', '50');
  const found = useLive<{ items: Summary[]; missing: MissingView[] }>(`/api/heddle/traces?${query}`, [
    'traces',
  ]);
  const services = useLive<{ data: string[] }>('/api/services', ['mesh']);
  const items = [...(found.data?.items ?? [])].sort((a, b) => b.startUs - a.startUs);
  const longest = items.reduce((most, item) => Math.max(most, item.durationUs), 1);
  return html`<h1>Traces</h1>
    <${Filters} params=${params} services=${services.data?.data ?? []} />
    <${Failure} error=${found.error} />
    <${Missing} replicas=${found.data?.missing} />
    ${
      found.data && items.length === 0
        ? html`<${Empty} title=${params.size > 0 ? 'No trace fits these filters' : 'No traces yet'}>
            ${
              params.size > 0
                ? html`<p><a href="/traces">Show all traces</a></p>`
                : html`<p>Each request through a sidecar leaves one. Send a request to a meshed service; it shows up here by itself.</p>`
            }
          <//>`
        : html`<ol class="traces" aria-live="off">${items.map((trace) => html`<${Row} key=${trace.traceId} trace=${trace} longest=${longest} />`)}</ol>`
    }`;
}
