/// <reference lib="dom" />
import { useLive } from './api.ts';
import { count } from './format.ts';
import { html } from './html.ts';
import { Empty, Failure } from './parts.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}
interface Reference {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly port?: number;
  readonly sectionName?: string;
}
interface Parent {
  readonly parentRef?: Reference;
  readonly ancestorRef?: Reference;
  readonly conditions?: readonly Condition[];
}
interface ObjectView {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly status?: {
    readonly parents?: readonly Parent[];
    readonly ancestors?: readonly Parent[];
    readonly conditions?: readonly Condition[];
  };
}

const KINDS = ['HTTPRoute', 'GRPCRoute', 'TrafficPolicy', 'MTLSPolicy', 'AuthorizationPolicy'];

function parentsOf(object: ObjectView): readonly Parent[] {
  const { status } = object;
  return (
    status?.parents ?? status?.ancestors ?? (status?.conditions ? [{ conditions: status.conditions }] : [])
  );
}

/** `Service shop/catalog:80`, as the messages name it. */
function nameOf({ parentRef, ancestorRef }: Parent): string {
  const to = parentRef ?? ancestorRef;
  if (to === undefined) return '';
  const place = to.namespace === undefined ? '' : `${to.namespace}/`;
  const part = to.port === undefined ? (to.sectionName ? `#${to.sectionName}` : '') : `:${to.port}`;
  return `${to.kind ?? ''} ${place}${to.name ?? ''}${part}`;
}

function Card({ object }: { readonly object: ObjectView }) {
  const parents = parentsOf(object);
  const bad = parents.some((parent) => parent.conditions?.some((condition) => condition.status === 'False'));
  return html`<li class=${`card ${bad ? 'bad-edge' : parents.length > 0 ? 'good-edge' : ''}`}>
    <p><span class="chip">${object.kind}</span> <strong>${object.metadata.namespace}/${object.metadata.name}</strong></p>
    ${parents.map(
      (parent) => html`<p class="muted small">${nameOf(parent)}</p>
        <ul class="plain">${(parent.conditions ?? []).map(
          (
            condition,
          ) => html`<li><span class=${`chip ${condition.status === 'True' ? 'chip-good' : condition.status === 'False' ? 'chip-bad' : 'chip-warn'}`}>${condition.type} ${condition.status}</span>
            ${condition.status === 'True' ? '' : html` <strong>${condition.reason}</strong> ${condition.message}`}</li>`,
        )}</ul>`,
    )}
    ${parents.length === 0 && html`<p class="muted">No status yet.</p>`}
  </li>`;
}

export function Objects() {
  const found = useLive<{ items: ObjectView[] }>('/api/heddle/objects', ['mesh']);
  const shown = (found.data?.items ?? []).filter((object) => KINDS.includes(object.kind));
  return html`<h1>Routes and policies</h1>
    <p class="muted">${found.data && count(shown.length, 'object')}</p>
    <${Failure} error=${found.error} />
    ${
      found.data && shown.length === 0
        ? html`<${Empty} title="No routes or policies"><p>Without any, every Service is reached with the defaults. Apply an HTTPRoute with <code>heddle apply -f route.yaml</code> to change that.</p><//>`
        : html`<ul class="cards">${shown.map((object) => html`<${Card} object=${object} />`)}</ul>`
    }`;
}
