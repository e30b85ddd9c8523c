import { MetricFamily } from '../../common/metrics.ts';

/** What the DNS process counts. */
export class DnsMetrics {
  readonly requests = new MetricFamily(
    'heddle_dns_requests_total',
    'Questions by transport, who answered, and result.',
    'counter',
    ['transport', 'answered_by', 'rcode'],
  );
  readonly duration = new MetricFamily(
    'heddle_dns_request_duration_seconds',
    'Time to the answer.',
    'histogram',
    ['answered_by'],
  );
  readonly dropped = new MetricFamily('heddle_dns_dropped_total', 'Messages that got no answer.', 'counter', [
    'reason',
  ]);
  readonly attempts = new MetricFamily(
    'heddle_dns_upstream_attempts_total',
    'Questions to upstreams by outcome.',
    'counter',
    ['upstream', 'outcome'],
  );
  readonly state = new MetricFamily(
    'heddle_dns_state',
    'Sizes at this moment: cache, questions under way, connections, the zone.',
    'gauge',
    ['what'],
  );

  answered(transport: string, by: string, rcode: string, seconds: number): void {
    this.requests.add(1, transport, by, rcode);
    this.duration.observe(seconds, by);
  }

  render(): string {
    return [this.requests, this.duration, this.dropped, this.attempts, this.state]
      .map((one) => one.render())
      .join('');
  }
}
