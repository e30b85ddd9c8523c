/// <reference lib="dom" />
import { useLive } from './api.ts';
import { DroppedPackets } from './drops.ts';
import { count, duration, percent, rate } from './format.ts';
import { html } from './html.ts';
import { Empty, Failure, Missing, type MissingView, Service } from './parts.ts';

interface Traffic {
  readonly requests: number;
  readonly errors: number;
  readonly p50Us: number;
  readonly p99Us: number;
}
interface Graph {
  readonly windowSeconds: number;
  readonly nodes: readonly (Traffic & { readonly service: string })[];
  readonly edges: readonly (Traffic & {
    readonly caller: string;
    readonly callee: string;
    readonly copies: number;
  })[];
  readonly missing: readonly MissingView[];
}
interface Counts {
  readonly workloads: number;
  readonly meshed: number;
  readonly services: number;
  readonly sidecars: number;
  readonly inStep: number;
}
export interface ProblemView {
  readonly severity: string;
  readonly source: string;
  readonly line: number;
  readonly object?: string;
  readonly field?: string;
  readonly message: string;
}

export function Problems({ items }: { readonly items: readonly ProblemView[] }) {
  if (items.length === 0)
    return html`<p class="good">✓ Nothing is wrong with the mesh's files and objects.</p>`;
  return html`<ul class="cards">
    ${items.map(
      (item) => html`<li class=${`card problem ${item.severity === 'error' ? 'bad-edge' : 'warn-edge'}`}>
        <p><strong>${item.object ?? item.severity}</strong> ${item.field ? html`<code>${item.field}</code>` : null}</p>
        <p>${item.message}</p>
        <p class="mono muted small">${item.source}:${item.line}</p>
      </li>`,
    )}
  </ul>`;
}

function Cells({ row, seconds }: { readonly row: Traffic; readonly seconds: number }) {
  return html`<td class="num" data-label="req/s">${rate(row.requests, seconds)}</td>
    <td class=${`num ${row.errors > 0 ? 'bad' : ''}`} data-label="errors">${percent(row.errors, row.requests)}</td>
    <td class="num" data-label="p50">${row.requests === 0 ? '–' : duration(row.p50Us)}</td>
    <td class="num" data-label="p99">${row.requests === 0 ? '–' : duration(row.p99Us)}</td>`;
}

const HEAD = html`<th class="num">req/s</th><th class="num">errors</th><th class="num">p50</th><th class="num">p99</th>`;

function Tile({
  label,
  value,
  note,
}: {
  readonly label: string;
  readonly value: string;
  readonly note: string;
}) {
  return html`<div class="tile"><dt>${label}</dt><dd>${value}<small>${note}</small></dd></div>`;
}

export function Overview() {
  const graph = useLive<Graph>('/api/heddle/graph?window=5m', ['traces']);
  const counts = useLive<Counts>('/api/heddle/overview', ['mesh']);
  const problems = useLive<{ items: ProblemView[] }>('/api/heddle/problems', ['mesh']);
  const nodes = [...(graph.data?.nodes ?? [])].sort((a, b) => b.requests - a.requests);
  const edges = [...(graph.data?.edges ?? [])].sort((a, b) => b.requests - a.requests);
  const seconds = graph.data?.windowSeconds ?? 300;
  const known = counts.data;
  const wrong = problems.data?.items ?? [];
  return html`<h1>Overview</h1>
    <${Failure} error=${graph.error ?? counts.error ?? problems.error} />
    <${Missing} replicas=${graph.data?.missing} />
    ${
      known &&
      html`<dl class="tiles">
      <${Tile} label="Services" value=${known.services} note="known to the mesh" />
      <${Tile} label="Pods in the mesh" value=${known.meshed} note=${`of ${known.workloads}`} />
      <${Tile} label="Sidecars connected" value=${known.sidecars} note=${`${known.inStep} in step`} />
      <${Tile} label="Problems" value=${wrong.length} note=${wrong.length === 0 ? 'all well' : 'see below'} />
    </dl>`
    }
    <section aria-labelledby="services"><h2 id="services">Services <small>last 5 minutes</small></h2>
      ${
        graph.data && nodes.length === 0
          ? html`<${Empty} title="No traffic in the last five minutes">
              <p>Send a request through a meshed pod, then look here again. In the demo shop, open its page in a browser.</p>
            <//>`
          : html`<div class="scroll"><table class="table"><thead><tr><th>Service</th>${HEAD}</tr></thead><tbody>
              ${nodes.map(
                (node) => html`<tr key=${node.service}>
                  <td><a href=${`/traces?service=${encodeURIComponent(node.service)}`}><${Service} name=${node.service} /></a></td>
                  <${Cells} row=${node} seconds=${seconds} />
                </tr>`,
              )}
            </tbody></table></div>`
      }
    </section>
    ${
      edges.length > 0 &&
      html`<section aria-labelledby="calls"><h2 id="calls">Who calls whom</h2>
        <div class="scroll"><table class="table"><thead><tr><th>Call</th>${HEAD}</tr></thead><tbody>
          ${edges.map(
            (
              edge,
            ) => html`<tr><td><${Service} name=${edge.caller} /> <span class="muted">→</span> <${Service} name=${edge.callee} />
                ${edge.copies > 0 && html` <span class="chip">${count(edge.copies, 'copy', 'copies')}</span>`}</td>
              <${Cells} row=${edge} seconds=${seconds} /></tr>`,
          )}
        </tbody></table></div></section>`
    }
    <${DroppedPackets} />
    <section aria-labelledby="problems"><h2 id="problems">Problems <small>${count(wrong.length, 'problem')}</small></h2>
      ${problems.data && html`<${Problems} items=${wrong} />`}
    </section>`;
}
