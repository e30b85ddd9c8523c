/// <reference lib="dom" />
import { useEffect, useState } from 'preact/hooks';
import { getJson } from './api.ts';
import { html } from './html.ts';
import { Failure, Reasons, type ReasonView } from './parts.ts';

interface Explanation {
  readonly from: { readonly namespace: string; readonly name: string | null };
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly destination: string;
  readonly decision: 'forward' | 'redirect' | 'answer';
  readonly answer: { readonly status: number; readonly code: string; readonly message: string } | null;
  readonly redirect: { readonly status: number; readonly location: string } | null;
  readonly rule: string | null;
  readonly cluster: string | null;
  readonly endpoint: { readonly key: string; readonly pod: string | null } | null;
  readonly rewrite: { readonly host: string | null; readonly path: string | null } | null;
  readonly mirrors: readonly { readonly cluster: string; readonly endpoint: string }[];
  readonly breaker: string | null;
  readonly reasons: readonly ReasonView[];
  readonly state: string;
  readonly recorded?: { readonly reasons: readonly ReasonView[] };
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

function bodyOf(form: FormData): string {
  const [namespace = '', name] = String(form.get('from')).split('/');
  const headers = String(form.get('headers'))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.includes(':'))
    .map((line) => [line.slice(0, line.indexOf(':')).trim(), line.slice(line.indexOf(':') + 1).trim()]);
  const from = name ? { namespace, name } : { namespace };
  return JSON.stringify({ from, url: String(form.get('url')), method: String(form.get('method')), headers });
}

function title({ answer, redirect }: Explanation): string {
  if (answer !== null) return `The mesh answers ${answer.status} (${answer.code})`;
  return redirect === null ? 'It is forwarded' : `The mesh answers ${redirect.status}, a redirect`;
}

function Result({ result }: { readonly result: Explanation }) {
  const { answer, redirect, rewrite, endpoint } = result;
  const facts: [string, string | null][] = [
    ['Destination', result.destination],
    ['Rule', result.rule ?? 'none attached'],
    ['Backend', result.cluster],
    ['Endpoint', endpoint && `${endpoint.key}${endpoint.pod ? ` (${endpoint.pod})` : ''}`],
    ['Redirect', redirect?.location ?? null],
    ['Host sent on', rewrite?.host ?? null],
    ['Path sent on', rewrite?.path ?? null],
    ['Copies', result.mirrors.map(({ cluster, endpoint: to }) => `${cluster} at ${to}`).join(', ')],
    ['Breaker', result.breaker],
    ['Decided with', result.state],
  ];
  return html`<section aria-live="polite" class="result">
    <h2>${title(result)}</h2>
    ${answer !== null && html`<p>${answer.message}</p>`}
    <dl class="facts">${facts.map(([label, value]) => value && html`<div><dt>${label}</dt><dd class="mono">${value}</dd></div>`)}</dl>
    <h3>Reasons today</h3><${Reasons} reasons=${result.reasons} />
    ${result.recorded && html`<h3>Reasons recorded in the trace</h3><${Reasons} reasons=${result.recorded.reasons} />`}
  </section>`;
}

/** What the form shows: the request that was explained last, so that it can be changed and asked again. */
function shown(result: Explanation | undefined) {
  if (result === undefined) return { from: '', url: '', method: 'GET', headers: '' };
  const { from, url, method, headers } = result;
  return {
    from: from.name === null ? from.namespace : `${from.namespace}/${from.name}`,
    url,
    method,
    headers: headers.map(([name, value]) => `${name}: ${value}`).join('\n'),
  };
}

export function Explain({ params }: { readonly params: URLSearchParams }) {
  const [result, setResult] = useState<Explanation | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const ask = async (path: string, init?: RequestInit) => {
    try {
      setResult(await getJson<Explanation>(path, init));
      setError(undefined);
    } catch (failure) {
      setResult(undefined);
      setError((failure as Error).message);
    }
  };
  const trace = params.get('trace');
  useEffect(() => {
    if (trace !== null) ask(`/api/heddle/explain?trace=${encodeURIComponent(trace)}`);
  }, [trace]);
  const submit = (event: Event) => {
    event.preventDefault();
    const body = bodyOf(new FormData(event.currentTarget as HTMLFormElement));
    ask('/api/heddle/explain', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  };
  const form = shown(result);
  return html`<h1>Explain</h1>
    <p class="muted">Where would this request go, and why? Nothing is sent.</p>
    <form class="explain" onSubmit=${submit}>
      <label>From <small>namespace or namespace/app</small><input name="from" required placeholder="shop/web" value=${form.from} /></label>
      <label>Method<select name="method">${METHODS.map((method) => html`<option selected=${form.method === method}>${method}</option>`)}</select></label>
      <label class="wide">URL<input name="url" required placeholder="http://catalog/items" value=${form.url} /></label>
      <label class="wide">Headers <small>one a line</small><textarea name="headers" rows="3" placeholder="x-user: beta" value=${form.headers}></textarea></label>
      <button type="submit">Explain</button>
    </form>
    <${Failure} error=${error} />
    ${result && html`<${Result} result=${result} />`}`;
}
