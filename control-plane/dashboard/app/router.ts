/// <reference lib="dom" />
const listeners = new Set<() => void>();

function changed(): void {
  for (const listener of listeners) listener();
}

/** Shows another page of the dashboard. */
export function go(path: string): void {
  history.pushState(null, '', path);
  changed();
  scrollTo(0, 0);
}

/** Runs when the address changed. Returns the function that stops it. */
export function onNavigate(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

addEventListener('popstate', changed);
document.addEventListener('click', (event) => {
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!plain || link === null || link.origin !== location.origin || link.hash !== '' || link.target !== '')
    return;
  event.preventDefault();
  go(link.pathname + link.search);
});
