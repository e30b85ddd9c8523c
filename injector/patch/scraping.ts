import { PORTS } from '../../common/contracts.ts';
import { type PatchOperation, pointer } from './json-patch.ts';
import type { PodView } from './pod.ts';

/** The annotations that Prometheus' usual scrape configuration for pods goes by. */
const SCRAPE = 'prometheus.io/scrape';
const PORT = 'prometheus.io/port';
const PATH = 'prometheus.io/path';
const SCHEME = 'prometheus.io/scheme';
const METRICS_PATH = '/metrics';

export interface MergedScraping {
  readonly operations: readonly PatchOperation[];
  /** Where the app's own metrics are: `9090/metrics`. Undefined where nothing is new. */
  readonly app: string | undefined;
  readonly warnings: readonly string[];
}

const UNCHANGED: MergedScraping = { operations: [], app: undefined, warnings: [] };

/**
 * Leads Prometheus to the sidecar's metrics, where the app's own are merged in: it has no certificate either, so under
 * STRICT the app's port would refuse it.
 */
export function mergeScraping(view: PodView): MergedScraping {
  const { annotations } = view;
  if (annotations.get(SCRAPE) !== 'true') return UNCHANGED;
  const path = rooted(annotations.get(PATH) ?? METRICS_PATH);
  const port = annotations.get(PORT) ?? firstPort(view);
  if (port === String(PORTS.proxyMetrics)) return UNCHANGED;
  const obstacle = obstacleTo(port, path, annotations.get(SCHEME));
  if (obstacle !== undefined)
    return {
      ...UNCHANGED,
      warnings: [`Prometheus scrapes the app itself, which fails under STRICT: ${obstacle}`],
    };
  const operations: PatchOperation[] = [put(annotations, PORT, String(PORTS.proxyMetrics))];
  if (path !== METRICS_PATH) operations.push(put(annotations, PATH, METRICS_PATH));
  return { operations, app: `${port ?? ''}${path}`, warnings: [] };
}

/** Prometheus takes `metrics` for `/metrics`. */
function rooted(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}

function obstacleTo(port: string | undefined, path: string, scheme: string | undefined): string | undefined {
  if (port === undefined) return `${PORT} is missing and no container declares a port`;
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535) return `${PORT} is not a port`;
  if (!/^\/[!-~]{0,1023}$/.test(path)) return `${PATH} is not a path`;
  if (scheme !== undefined && scheme.toLowerCase() !== 'http')
    return `${SCHEME} is ${scheme}, and the sidecar asks by HTTP`;
  return undefined;
}

/** Without the annotation, Prometheus scrapes the ports that containers declare. */
function firstPort(view: PodView): string | undefined {
  const ports = view.containers.flatMap((container) => container.ports);
  return ports.find((port) => port.protocol === 'TCP')?.port.toString();
}

function put(annotations: ReadonlyMap<string, string>, key: string, value: string): PatchOperation {
  const path = pointer('metadata', 'annotations', key);
  return { op: annotations.has(key) ? 'replace' : 'add', path, value };
}
