import { isJsonObject, type JsonValue } from '../../common/json.ts';
import { destinationKey, serviceHostCandidates } from '../../common/names.ts';
import { seededRandom } from '../../common/random.ts';
import type { RequestView } from '../../model/decision-types.ts';
import { explain as explainDecision } from '../../model/explain.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { stateFromDump } from '../../model/state.ts';
import type { MeshTraces } from '../traces/mesh-traces.ts';
import { SPAN_KIND, type SpanRecord, tagText } from '../traces/span.ts';
import type { ControlPlaneView } from '../view.ts';
import { HttpError } from './http.ts';
import { wholeTrace } from './jaeger-api.ts';

export interface ExplainRequest {
  readonly namespace: string;
  /** The pod's app or the pod itself, where known. */
  readonly name: string | undefined;
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [string, string])[];
  /** A sidecar's state to decide with, instead of asking for the live one. */
  readonly state: JsonValue | undefined;
}

const HEADERS_MAX = 128;

/** Checks a body of `POST /api/heddle/explain`. */
export function parseExplain(text: string): ExplainRequest {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new HttpError(400, 'the body must be JSON');
  }
  const from = isJsonObject(body) ? body.from : undefined;
  if (!isJsonObject(body) || !isJsonObject(from) || typeof from.namespace !== 'string') {
    throw new HttpError(400, 'the body must be {"from": {"namespace": …}, "url": …}');
  }
  if (typeof body.url !== 'string') throw new HttpError(400, 'url must be text such as http://catalog/items');
  const headers = body.headers ?? [];
  if (!Array.isArray(headers) || headers.length > HEADERS_MAX) {
    throw new HttpError(400, `headers must be a list of at most ${HEADERS_MAX} pairs`);
  }
  return {
    namespace: from.namespace,
    name: typeof from.name === 'string' && from.name !== '' ? from.name : undefined,
    url: body.url,
    method: typeof body.method === 'string' ? body.method.toUpperCase() : 'GET',
    headers: headers.map(pair),
    state: body.state ?? undefined,
  };
}

function pair(value: JsonValue): readonly [string, string] {
  if (!Array.isArray(value) || typeof value[0] !== 'string' || typeof value[1] !== 'string') {
    throw new HttpError(400, 'each header must be [name, value]');
  }
  return [value[0].toLowerCase(), value[1]];
}

function findKey(snapshot: Snapshot, url: URL, namespace: string): string {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const keys = [...serviceHostCandidates(host, namespace), host].map((each) => destinationKey(each, port));
  return keys.find((key) => snapshot.destination(key) !== undefined) ?? (keys[0] as string);
}

function viewOf(request: ExplainRequest, url: URL): RequestView {
  return {
    method: request.method,
    path: url.pathname,
    query: url.search.slice(1),
    header(name) {
      const values = request.headers.filter(([key]) => key === name).map(([, value]) => value);
      if (values.length > 0) return values.join(', ');
      return name === 'host' ? url.host : undefined;
    },
    sourceAddress: undefined,
  };
}

/** Where a request would go against today's configuration, and every reason on the way. */
export async function explain(
  view: ControlPlaneView,
  request: ExplainRequest,
  nowMs: number,
): Promise<object> {
  let url: URL;
  try {
    url = new URL(request.url.includes('://') ? request.url : `http://${request.url}`);
  } catch {
    throw new HttpError(400, `"${request.url}" is no URL`);
  }
  const snapshot = view.mesh().snapshotFor(request.namespace);
  const key = findKey(snapshot, url, request.namespace);
  const pod = request.name === undefined ? undefined : livePod(view, request.namespace, request.name);
  const live = pod === undefined ? undefined : await view.proxyState(pod);
  const state = request.state ?? live;
  const random = seededRandom(1);
  const told = explainDecision(snapshot, key, viewOf(request, url), stateFromDump(state), nowMs, random);
  const given = request.state === undefined ? undefined : 'the state given';
  const sidecar = live === undefined ? undefined : `the live state of ${pod}`;
  return {
    ...told,
    from: { namespace: request.namespace, name: request.name ?? null },
    url: url.href,
    method: request.method,
    headers: request.headers,
    /** Whose breakers, ejections and load the decision reads. */
    state: given ?? sidecar ?? 'closed breakers and no load: no sidecar was asked',
  };
}

function livePod(view: ControlPlaneView, namespace: string, name: string): string | undefined {
  const prefix = `${namespace}/${name}`;
  const pods = view.proxies().map((proxy) => proxy.pod);
  return pods.find((pod) => pod === prefix) ?? pods.find((pod) => pod.startsWith(`${prefix}-`));
}

/** The reasons a span recorded, or an empty list. */
function recordedReasons(span: SpanRecord): JsonValue[] {
  const text = tagText(span, 'heddle.reasons');
  if (text === undefined) return [];
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    // Cut at the size limit: the text itself still stands in the span's tags.
    return [{ stage: 'route', subject: '', outcome: 'info', text }];
  }
}

/** Replays the request of a trace's first outbound CLIENT span, beside the reasons recorded then. */
export async function explainTrace(
  view: ControlPlaneView,
  traces: MeshTraces,
  id: string,
  nowMs: number,
): Promise<object> {
  const { value: spans } = await wholeTrace(traces, id);
  const client =
    spans.find((each) => each.kind === SPAN_KIND.client && tagText(each, 'url.full') !== undefined) ??
    spans.find((each) => each.kind === SPAN_KIND.client);
  if (client === undefined) throw new HttpError(404, 'the trace has no outbound request');
  const address = tagText(client, 'server.address') ?? '';
  const port = tagText(client, 'server.port') ?? '80';
  const path = tagText(client, 'url.path') ?? '/';
  const query = tagText(client, 'url.query');
  const namespace = client.processTags.find((tag) => tag.key === 'k8s.namespace.name')?.value;
  const pod = client.processTags.find((tag) => tag.key === 'k8s.pod.name')?.value;
  const request: ExplainRequest = {
    namespace: String(namespace ?? 'default'),
    name: pod === undefined ? undefined : String(pod),
    url: tagText(client, 'url.full') ?? `http://${address}:${port}${path}${query ? `?${query}` : ''}`,
    method: tagText(client, 'http.request.method') ?? 'GET',
    state: undefined,
    headers: client.tags
      .filter((tag) => tag.key.startsWith('http.request.header.'))
      .map((tag) => [tag.key.slice('http.request.header.'.length), String(tag.value)] as const),
  };
  return {
    ...(await explain(view, request, nowMs)),
    recorded: { spanId: client.spanId, reasons: recordedReasons(client) },
  };
}
