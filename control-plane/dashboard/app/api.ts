/// <reference lib="dom" />
import { useEffect, useState } from 'preact/hooks';

export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: string | undefined;
}

/** Fetches JSON; an error answer's own message is what is thrown. */
export async function getJson<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(path, init);
  const body = await response.json();
  if (!response.ok) throw new Error(body?.errors?.[0]?.msg ?? `the answer was ${response.status}`);
  return body;
}

let source: EventSource | undefined;

/** The one stream of events this page listens to. */
function events(): EventSource {
  source ??= new EventSource('/api/heddle/events');
  return source;
}

/** The data of `path`, loaded again when the control plane says that `topics` changed. */
export function useLive<T>(path: string, topics: readonly ('mesh' | 'traces' | 'drops')[]): Loaded<T> {
  const [state, setState] = useState<Loaded<T> & { path: string }>({
    path,
    data: undefined,
    error: undefined,
  });
  useEffect(() => {
    let current = true;
    let loading = false;
    let again = false;
    const load = async () => {
      if (loading) {
        again = true;
        return;
      }
      loading = true;
      try {
        const data = await getJson<T>(path);
        if (current) setState({ path, data, error: undefined });
      } catch (error) {
        if (current) setState((last) => ({ path, data: last.data, error: String((error as Error).message) }));
      }
      loading = false;
      if (again && current) {
        again = false;
        load();
      }
    };
    load();
    for (const topic of topics) events().addEventListener(topic, load);
    return () => {
      current = false;
      for (const topic of topics) events().removeEventListener(topic, load);
    };
  }, [path]);
  return state.path === path ? state : { data: undefined, error: undefined };
}
