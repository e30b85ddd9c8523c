import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import type { DropsView } from '../drops/feed.ts';
import type { MeshTraces } from '../traces/mesh-traces.ts';
import type { ControlPlaneView } from '../view.ts';
import { HttpError } from './http.ts';
import { parseGoDurationUs, traceQuery } from './query-params.ts';
import { summarize } from './trace-summary.ts';

const WINDOW_DEFAULT_US = 5 * 60_000_000;
/** Of dropped packets, in one answer. */
export const dropFlowsShownMax = 50;

export interface ApiSources {
  readonly view: ControlPlaneView;
  readonly traces: MeshTraces;
  readonly drops: DropsView | undefined;
}

/** Answers the reading part of Heddle's own API, or undefined where the path is none of it. Throws HttpError. */
export async function heddleApi(
  { view, traces, drops }: ApiSources,
  url: URL,
  nowMs: number,
): Promise<object | undefined> {
  const { searchParams } = url;
  switch (url.pathname) {
    case '/api/heddle/graph':
      return graph(traces, searchParams, nowMs);
    case '/api/heddle/traces':
      return list(traces, searchParams, nowMs);
    case '/api/heddle/proxies':
      return { items: view.proxies() };
    case '/api/heddle/problems':
      return { items: view.problems().map((problem) => ({ ...problem })) };
    case '/api/heddle/objects':
      return { items: objects(view, searchParams) };
    case '/api/heddle/drops':
      return dropsOf(drops);
    case '/api/heddle/overview':
      return overview(view, traces);
    default:
      return undefined;
  }
}

async function list(traces: MeshTraces, params: URLSearchParams, nowMs: number): Promise<object> {
  const { value, missing } = await traces.find(traceQuery(params, nowMs));
  return { items: value.map(summarize), missing };
}

async function graph(traces: MeshTraces, params: URLSearchParams, nowMs: number): Promise<object> {
  const text = params.get('window') ?? '';
  const windowUs = text === '' ? WINDOW_DEFAULT_US : parseGoDurationUs(text);
  if (windowUs === undefined || windowUs <= 0)
    throw new HttpError(400, 'window must be a duration such as 5m');
  const endUs = nowMs * 1000;
  const { value, missing } = await traces.graph({ startUs: endUs - windowUs, endUs });
  return { windowSeconds: windowUs / 1e6, ...value, missing };
}

function dropsOf(drops: DropsView | undefined): object {
  if (drops === undefined) return { known: false, agents: { connected: 0, all: 0 }, items: [], more: 0 };
  const flows = drops.flows();
  const items = flows.slice(0, dropFlowsShownMax);
  return { known: true, agents: drops.agents(), items, more: flows.length - items.length };
}

function overview(view: ControlPlaneView, traces: MeshTraces): object {
  const workloads = [...view.mesh().workloads.values()];
  return {
    workloads: workloads.length,
    meshed: workloads.filter((each) => each.meshed).length,
    services: view.objects().filter(({ object }) => object.kind === 'Service').length,
    sidecars: view.proxies().length,
    inStep: view.proxies().filter((proxy) => Object.values(proxy.pending).every((count) => count === 0))
      .length,
    traces: traces.counters(),
  };
}

function objects(view: ControlPlaneView, params: URLSearchParams): KubeObject[] {
  const wanted = (name: string, value: string | undefined) => {
    const asked = params.get(name);
    return asked === null || asked === '' || asked.toLowerCase() === value?.toLowerCase();
  };
  return view
    .objects()
    .filter(({ object }) => wanted('kind', object.kind))
    .filter(({ object }) => wanted('namespace', object.metadata.namespace))
    .filter(({ object }) => wanted('name', object.metadata.name))
    .map((sourced) => withStatus(view, sourced));
}

/** Secrets keep their names and lose their contents. */
function withStatus(view: ControlPlaneView, { object }: SourcedObject): KubeObject {
  if (object.kind === 'Secret') {
    const { apiVersion, kind, metadata } = object;
    return { apiVersion, kind, metadata };
  }
  const status = view.statusOf(object);
  return status === undefined ? object : { ...object, status };
}
