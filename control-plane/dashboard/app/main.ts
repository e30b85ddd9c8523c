/// <reference lib="dom" />
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Explain } from './explain.ts';
import { html } from './html.ts';
import { Objects } from './objects.ts';
import { Overview } from './overview.ts';
import { onNavigate } from './router.ts';
import { Sidecars } from './sidecars.ts';
import { Trace } from './trace.ts';
import { Traces } from './traces.ts';

const LINKS = [
  ['/', 'Overview'],
  ['/traces', 'Traces'],
  ['/objects', 'Routes'],
  ['/sidecars', 'Sidecars'],
  ['/explain', 'Explain'],
] as const;

function Page({ path, params }: { readonly path: string; readonly params: URLSearchParams }) {
  const trace = /^\/traces\/([0-9a-fA-F]{1,32})$/.exec(path);
  if (trace !== null) return html`<${Trace} key=${trace[1]} id=${trace[1]} />`;
  if (path === '/traces') return html`<${Traces} key=${String(params)} params=${params} />`;
  if (path === '/objects') return html`<${Objects} />`;
  if (path === '/sidecars') return html`<${Sidecars} />`;
  if (path === '/explain') return html`<${Explain} key=${String(params)} params=${params} />`;
  return html`<${Overview} />`;
}

function App() {
  const [, redraw] = useState(0);
  useEffect(() => onNavigate(() => redraw((turn) => turn + 1)), []);
  const path = location.pathname;
  const here = (link: string) => (link === '/' ? path === '/' : path.startsWith(link));
  useEffect(() => {
    const title = LINKS.find(([link]) => here(link))?.[1] ?? '';
    document.title = `${title} · Heddle`;
  }, [path]);
  return html`<a class="skip" href="#main">Skip to content</a>
    <header class="top"><div class="top-inner">
      <a class="brand" href="/"><img src="/app/icon.svg" alt="" width="24" height="24" />Heddle</a>
      <nav aria-label="Pages">${LINKS.map(
        ([link, label]) => html`<a href=${link} aria-current=${here(link) ? 'page' : undefined}>${label}</a>`,
      )}</nav>
    </div></header>
    <main id="main" tabindex="-1"><${Page} path=${path} params=${new URLSearchParams(location.search)} /></main>`;
}

const root = document.getElementById('app');
if (root !== null) {
  root.replaceChildren();
  render(html`<${App} />`, root);
}
