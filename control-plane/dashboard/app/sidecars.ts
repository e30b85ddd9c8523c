/// <reference lib="dom" />
import { useLive } from './api.ts';
import { count } from './format.ts';
import { html } from './html.ts';
import { Empty, Failure } from './parts.ts';

interface Sidecar {
  readonly pod: string;
  readonly identity: string;
  readonly pending: Readonly<Record<string, number>>;
  readonly lastNack?: { readonly type: string; readonly resource?: string; readonly message: string };
}

/** As the control plane passes them on. */
const PAGES = ['config', 'clusters', 'certs', 'breakers', 'stats', 'logging'];

function State({ sidecar }: { readonly sidecar: Sidecar }) {
  const { lastNack, pending } = sidecar;
  const waiting = Object.values(pending).reduce((sum, each) => sum + each, 0);
  if (lastNack !== undefined)
    return html`<span class="bad">refused ${lastNack.type} ${lastNack.resource ?? ''}: ${lastNack.message}</span>`;
  return waiting === 0
    ? html`<span class="good">in step</span>`
    : html`<span>${count(waiting, 'resource')} not acknowledged</span>`;
}

/** The sidecars that are connected to this control plane, with their own pages. */
export function Sidecars() {
  const sidecars = useLive<{ items: Sidecar[] }>('/api/heddle/proxies', ['mesh']);
  const items = [...(sidecars.data?.items ?? [])].sort((a, b) => a.pod.localeCompare(b.pod));
  return html`<h1>Sidecars <small>${sidecars.data ? count(items.length, 'connected sidecar') : ''}</small></h1>
    <${Failure} error=${sidecars.error} />
    ${
      sidecars.data && items.length === 0
        ? html`<${Empty} title="No sidecar is connected"><p>Label a namespace, and make its pods anew.</p><//>`
        : html`<div class="scroll"><table class="table"><thead><tr><th>Pod</th><th>State</th><th>Its own pages</th></tr></thead><tbody>
            ${items.map(
              (sidecar) => html`<tr key=${sidecar.pod}>
                <td><strong>${sidecar.pod}</strong><br /><span class="mono muted small">${sidecar.identity}</span></td>
                <td data-label="State"><${State} sidecar=${sidecar} /></td>
                <td data-label="Pages">${PAGES.map(
                  (page) =>
                    html`<a href=${`/proxies/${sidecar.pod}/${page}`} target="_blank" rel="noopener">${page}</a> `,
                )}</td>
              </tr>`,
            )}
          </tbody></table></div>`
    }`;
}
