/// <reference lib="dom" />
import { useLive } from './api.ts';
import { clockTime, count, fullTime } from './format.ts';
import { html } from './html.ts';
import { Empty, Failure } from './parts.ts';

interface End {
  readonly ip: string;
  readonly port: number;
  readonly kind: string;
  readonly name: string;
}
interface Flow {
  readonly node: string;
  readonly direction: string;
  readonly reason: string;
  readonly message: string;
  readonly protocol: string;
  readonly from: End;
  readonly to: End;
  readonly policies: readonly string[];
  readonly lastAt: string;
  readonly packets: number;
}
interface Drops {
  readonly known: boolean;
  readonly agents: { readonly connected: number; readonly all: number };
  readonly items: readonly Flow[];
  /** Flows that are known but not among the items. */
  readonly more: number;
}

function Side({ end }: { readonly end: End }) {
  const name = end.name === '' ? end.ip : end.name;
  const what = end.kind === 'pod' ? '' : end.kind === 'world' ? 'outside' : end.kind;
  return html`<span class="end" title=${end.ip}><strong>${name}</strong>${what && html` <small class="muted">${what}</small>`}</span>`;
}

function Row({ flow }: { readonly flow: Flow }) {
  const atUs = Date.parse(flow.lastAt) * 1000;
  const port = flow.to.port === 0 ? flow.protocol : `${flow.protocol} ${flow.to.port}`;
  return html`<tr>
    <td class="flow"><${Side} end=${flow.from} /> <span class="muted">→</span> <${Side} end=${flow.to} /></td>
    <td data-label="port" class="nowrap">${port}</td>
    <td data-label="reason"><span class="chip chip-bad">${flow.reason}</span>
      ${
        flow.policies.length > 0
          ? html` <span class="mono small policy-names">${flow.policies.join(', ')}</span>`
          : html` <span class="small muted">${flow.message}</span>`
      }</td>
    <td data-label="where" class="small muted nowrap">${flow.direction}, ${flow.node}</td>
    <td class="num" data-label="packets">${flow.packets}</td>
    <td class="num nowrap" data-label="last"><time datetime=${flow.lastAt} title=${fullTime(atUs)}>${clockTime(atUs)}</time></td>
  </tr>`;
}

function List({ drops }: { readonly drops: Drops }) {
  if (!drops.known)
    return html`<p class="muted">Drops are known with the pod network only. This mesh runs in loopback mode, where no packet is
      dropped by policy: run <code>heddle up --network ebpf</code> as root for it.</p>`;
  const { connected, all } = drops.agents;
  const waiting =
    connected < all &&
    html`<p class="muted">${count(all - connected, 'node')} of ${all} can't be asked at the moment; what they drop is missing here.</p>`;
  if (drops.items.length === 0)
    return html`${waiting}${
      connected > 0 &&
      html`<${Empty} title="No packet was dropped">
        <p>Every packet that the nodes have seen was let through. What a NetworkPolicy doesn't allow shows up here by itself.</p>
      <//>`
    }`;
  return html`${waiting}<div class="scroll"><table class="table drops"><thead><tr><th>From → to</th><th>Port</th><th>Reason and policy</th><th>Where</th>
      <th class="num">Packets</th><th class="num">Last</th></tr></thead><tbody>
      ${drops.items.map((flow, index) => html`<${Row} key=${index} flow=${flow} />`)}
    </tbody></table></div>
    ${drops.more > 0 && html`<p class="muted small">${count(drops.more, 'older flow')} not shown: <code>heddle drops</code> lists them.</p>`}`;
}

/** What the pod network dropped lately, and the policy that made it so. */
export function DroppedPackets() {
  const { data, error } = useLive<Drops>('/api/heddle/drops', ['drops']);
  return html`<section aria-labelledby="drops"><h2 id="drops">Dropped packets <small>by the pod network</small></h2>
    <${Failure} error=${error} />
    ${data && html`<${List} drops=${data} />`}
  </section>`;
}
