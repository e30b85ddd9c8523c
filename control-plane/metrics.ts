import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { MetricFamily } from '../common/metrics.ts';
import type { Readiness } from './readiness.ts';
import type { TraceReader } from './traces/reader.ts';
import type { ControlPlaneView } from './view.ts';

const CONNECTIONS_MAX = 64;
const REQUEST_MS = 5_000;
const HEAD_BYTES_MAX = 8 * 1024;

/** The families of the control plane. */
export class ControlPlaneMetrics {
  readonly certificates = new MetricFamily(
    'heddle_ca_certificates_total',
    'Certificate requests, by outcome.',
    'counter',
    ['outcome'],
  );
  readonly builds = new MetricFamily(
    'heddle_mesh_build_seconds',
    'Time from objects to resources, per change.',
    'histogram',
    [],
  );
  readonly #problems = new MetricFamily(
    'heddle_mesh_problems',
    'What is wrong with files and objects.',
    'gauge',
    ['severity'],
  );
  readonly #proxies = new MetricFamily('heddle_xds_proxies', 'Connected proxies.', 'gauge', ['state']);
  readonly #spans = new MetricFamily('heddle_trace_spans', 'Spans kept, dropped and expired.', 'gauge', [
    'state',
  ]);
  readonly #memory = new MetricFamily(
    'process_resident_memory_bytes',
    'Resident memory size in bytes.',
    'gauge',
    [],
  );
  readonly #cpu = new MetricFamily(
    'process_cpu_seconds_total',
    'Total user and system CPU time spent in seconds.',
    'counter',
    [],
  );

  /** The page, with gauges as they are now. */
  render(view: ControlPlaneView, traces: TraceReader): string {
    // Made anew: a kind whose last object went must not stand there for ever.
    const objects = new MetricFamily('heddle_mesh_objects', 'Objects in force.', 'gauge', ['kind']);
    for (const { object } of view.objects()) objects.add(1, object.kind);
    for (const severity of ['error', 'warning']) {
      this.#problems.set(view.problems().filter((one) => one.severity === severity).length, severity);
    }
    const proxies = view.proxies();
    const inStep = proxies.filter(({ pending }) =>
      Object.values(pending).every((count) => count === 0),
    ).length;
    this.#proxies.set(inStep, 'in-step');
    this.#proxies.set(proxies.length - inStep, 'behind');
    const { stored, dropped, expired } = traces.counters();
    this.#spans.set(stored, 'stored');
    this.#spans.set(expired, 'expired');
    for (const [reason, count] of Object.entries(dropped)) this.#spans.set(count, reason);
    const { user, system } = process.cpuUsage();
    this.#cpu.set((user + system) / 1e6);
    this.#memory.set(process.memoryUsage.rss());
    const families = [this.certificates, this.builds, objects, this.#problems, this.#proxies];
    return [...families, this.#spans, this.#memory, this.#cpu].map((family) => family.render()).join('');
  }
}

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface MetricsOptions {
  readonly listen: string;
  /** 0: any free one. */
  readonly port: number;
  /** Undefined until there is something to tell. */
  readonly render: () => string | undefined;
  readonly readiness: Readiness;
}

/**
 * Serves `/metrics` in Prometheus' text format; `/livez`, which answers as long as the process does; and `/readyz`, 503
 * with what it waits for until everything serves.
 */
export async function startMetrics(options: MetricsOptions): Promise<MetricsServer> {
  const server = http.createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, maxHeaderSize: HEAD_BYTES_MAX },
    (request, response) => {
      const readable = request.method === 'GET' || request.method === 'HEAD';
      const { status, text } = readable
        ? pageOf(request.url?.split('?')[0], options)
        : { status: 405, text: 'GET\n' };
      response.writeHead(status, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
      response.end(text);
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.listen, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function pageOf(path: string | undefined, { render, readiness }: MetricsOptions) {
  const waits = `waiting for ${readiness.missing().join(', ')}\n`;
  const ready = readiness.missing().length === 0;
  switch (path) {
    case '/livez':
      return { status: 200, text: 'live\n' };
    case '/readyz':
      return ready ? { status: 200, text: 'ready\n' } : { status: 503, text: waits };
    case '/metrics': {
      const page = render();
      return page === undefined ? { status: 503, text: waits } : { status: 200, text: page };
    }
    default:
      return { status: 404, text: 'there are /metrics, /livez and /readyz\n' };
  }
}
