import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { MetricFamily } from '../common/metrics.ts';
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

/** Serves `/metrics` in Prometheus' text format, and `/healthz/ready` once it can be asked at all. */
export async function startMetrics(options: {
  readonly listen: string;
  /** 0: any free one. */
  readonly port: number;
  render(): string;
}): Promise<MetricsServer> {
  const server = http.createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, maxHeaderSize: HEAD_BYTES_MAX },
    (request, response) => {
      const path = request.url?.split('?')[0];
      const page = path === '/metrics' ? options.render() : path === '/healthz/ready' ? 'ready\n' : undefined;
      const readable = request.method === 'GET' || request.method === 'HEAD';
      const status = page === undefined ? 404 : readable ? 200 : 405;
      response.writeHead(status, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
      response.end(
        status === 200 ? page : `${status === 404 ? 'there are /metrics and /healthz/ready' : 'GET'}\n`,
      );
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
