import { MetricFamily } from '../../common/metrics.ts';

/** The families of a sidecar. */
export class SidecarMetrics {
  readonly requests = new MetricFamily('heddle_requests_total', 'Requests served, by result.', 'counter', [
    'direction',
    'destination_service',
    'route',
    'response_code',
    'reason',
  ]);
  readonly durations = new MetricFamily(
    'heddle_request_duration_seconds',
    'Time from request head to end of response.',
    'histogram',
    ['direction', 'destination_service'],
  );
  readonly attempts = new MetricFamily(
    'heddle_attempts_total',
    'Attempts at endpoints, retries included.',
    'counter',
    ['destination_service', 'kind', 'outcome'],
  );
  readonly mirrors = new MetricFamily(
    'heddle_mirrors_total',
    'Copies of requests, by the status they were answered with or the reason why they were not.',
    'counter',
    ['destination_service', 'route', 'outcome'],
  );
  readonly connections = new MetricFamily('heddle_connections_total', 'Connection events.', 'counter', [
    'direction',
    'event',
  ]);
  readonly breakers = new MetricFamily(
    'heddle_breaker_open',
    '1 while the breaker of a destination is open or half-open.',
    'gauge',
    ['cluster'],
  );
  readonly ejections = new MetricFamily('heddle_ejections_total', 'Endpoints ejected.', 'counter', [
    'cluster',
  ]);
  readonly certificateExpiry = new MetricFamily(
    'heddle_certificate_expiry_seconds',
    'Seconds until the workload certificate expires.',
    'gauge',
    [],
  );
  readonly spansDropped = new MetricFamily(
    'heddle_spans_dropped_total',
    'Spans that were kept and could not be sent.',
    'counter',
    ['reason'],
  );
  readonly connected = new MetricFamily(
    'heddle_control_plane_connected',
    '1 while the xDS stream to the control plane is open.',
    'gauge',
    [],
  );

  render(): string {
    const families = [
      this.requests,
      this.durations,
      this.attempts,
      this.mirrors,
      this.connections,
      this.breakers,
      this.ejections,
      this.certificateExpiry,
      this.connected,
      this.spansDropped,
    ];
    return families.map((family) => family.render()).join('');
  }
}
