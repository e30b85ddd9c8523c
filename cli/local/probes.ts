import http from 'node:http';
import type { Clock, Timer } from '../../common/clock.ts';
import type { JsonValue } from '../../common/json.ts';
import type { Dialer } from '../../common/net.ts';
import { at, listAt, numberAt, textAt } from '../kube/fields.ts';
import type { ContainerPort } from './pod-spec.ts';

export interface ProbeResult {
  readonly ok: boolean;
  /** Why not, for a person. */
  readonly message: string;
}

export interface ProbeTarget {
  readonly podIp: string;
  readonly ports: readonly Pick<ContainerPort, 'name' | 'port'>[];
  /** Runs a command as the container would; resolves with its exit code. */
  exec(command: readonly string[], timeoutMs: number): Promise<number>;
}

export interface ProbeTimings {
  readonly initialDelayMs: number;
  readonly periodMs: number;
  readonly timeoutMs: number;
  readonly successThreshold: number;
  readonly failureThreshold: number;
}

/** Kubernetes' defaults filled in. */
export function probeTimings(probe: JsonValue): ProbeTimings {
  const seconds = (key: string, fallback: number) => (numberAt(probe, key) ?? fallback) * 1_000;
  return {
    initialDelayMs: seconds('initialDelaySeconds', 0),
    periodMs: Math.max(1_000, seconds('periodSeconds', 10)),
    timeoutMs: Math.max(1_000, seconds('timeoutSeconds', 1)),
    successThreshold: numberAt(probe, 'successThreshold') ?? 1,
    failureThreshold: numberAt(probe, 'failureThreshold') ?? 3,
  };
}

/** Runs one probe once. Never rejects. */
export async function runProbe(
  clock: Clock,
  dialer: Dialer,
  probe: JsonValue,
  target: ProbeTarget,
): Promise<ProbeResult> {
  const { timeoutMs } = probeTimings(probe);
  if (at(probe, 'httpGet') !== undefined) return httpProbe(clock, dialer, probe, target, timeoutMs);
  if (at(probe, 'tcpSocket') !== undefined) return tcpProbe(clock, dialer, probe, target, timeoutMs);
  if (at(probe, 'exec') !== undefined) {
    const command = listAt(probe, 'exec', 'command').map(String);
    const code = await target.exec(command, timeoutMs);
    return { ok: code === 0, message: `"${command.join(' ')}" ended with ${code}` };
  }
  return { ok: false, message: 'this kind of probe is not supported here (httpGet, tcpSocket and exec are)' };
}

function httpProbe(
  clock: Clock,
  dialer: Dialer,
  probe: JsonValue,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<ProbeResult> {
  const port = portOf(at(probe, 'httpGet', 'port'), target.ports);
  const host = textAt(probe, 'httpGet', 'host') ?? target.podIp;
  const path = textAt(probe, 'httpGet', 'path') ?? '/';
  const where = `GET http://${host}:${port}${path}`;
  if (port === undefined) return Promise.resolve({ ok: false, message: 'httpGet: unknown port' });
  if ((textAt(probe, 'httpGet', 'scheme') ?? 'HTTP').toUpperCase() !== 'HTTP')
    return Promise.resolve({ ok: false, message: 'httpGet: only the scheme HTTP is supported' });
  const headers: Record<string, string> = {
    host: `${host}:${port}`,
    'user-agent': 'kube-probe/heddle',
    connection: 'close',
  };
  for (const header of listAt(probe, 'httpGet', 'httpHeaders'))
    headers[(textAt(header, 'name') ?? '').toLowerCase()] = textAt(header, 'value') ?? '';
  return new Promise((resolve) => {
    const stream = dialer.dial({ host, port });
    const finish = (result: ProbeResult) => {
      timer.cancel();
      stream.destroy();
      resolve(result);
    };
    const fail = (error: Error) => finish({ ok: false, message: `${where}: ${error.message}` });
    const timer = clock.after(timeoutMs, () => fail(new Error(`no answer within ${timeoutMs} ms`)));
    stream.on('error', fail);
    stream.once('connect', () => {
      const request = http.request({ path, headers, setHost: false, createConnection: () => stream });
      request.on('error', fail);
      request.on('response', (response) => {
        const status = response.statusCode ?? 0;
        finish({ ok: status >= 200 && status < 400, message: `${where} answered ${status}` });
      });
      request.end();
    });
  });
}

function tcpProbe(
  clock: Clock,
  dialer: Dialer,
  probe: JsonValue,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<ProbeResult> {
  const port = portOf(at(probe, 'tcpSocket', 'port'), target.ports);
  if (port === undefined) return Promise.resolve({ ok: false, message: 'tcpSocket: unknown port' });
  return new Promise((resolve) => {
    const stream = dialer.dial({ host: textAt(probe, 'tcpSocket', 'host') ?? target.podIp, port });
    const finish = (result: ProbeResult) => {
      timer.cancel();
      stream.destroy();
      resolve(result);
    };
    const timer = clock.after(timeoutMs, () => finish({ ok: false, message: `port ${port}: no answer` }));
    stream.once('connect', () => finish({ ok: true, message: '' }));
    stream.on('error', (error) => finish({ ok: false, message: `port ${port}: ${error.message}` }));
  });
}

export function portOf(
  value: JsonValue | undefined,
  ports: readonly Pick<ContainerPort, 'name' | 'port'>[],
): number | undefined {
  if (typeof value === 'number') return value;
  return ports.find((port) => port.name === value)?.port;
}

/** Repeats a probe until stopped and tells when its verdict changes, after as many results as its thresholds say. */
export class ProbeLoop {
  readonly #clock: Clock;
  readonly #timings: ProbeTimings;
  readonly #run: () => Promise<ProbeResult>;
  readonly #onVerdict: (ok: boolean, message: string) => void;
  #timer: Timer | undefined;
  #stopped = false;
  #successes = 0;
  #failures = 0;

  constructor(
    clock: Clock,
    timings: ProbeTimings,
    run: () => Promise<ProbeResult>,
    onVerdict: (ok: boolean, message: string) => void,
  ) {
    this.#clock = clock;
    this.#timings = timings;
    this.#run = run;
    this.#onVerdict = onVerdict;
    this.#timer = clock.after(timings.initialDelayMs, () => void this.#probe());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #probe(): Promise<void> {
    const result = await this.#run();
    if (this.#stopped) return;
    this.#successes = result.ok ? this.#successes + 1 : 0;
    this.#failures = result.ok ? 0 : this.#failures + 1;
    if (result.ok && this.#successes >= this.#timings.successThreshold) this.#onVerdict(true, '');
    if (!result.ok && this.#failures >= this.#timings.failureThreshold)
      this.#onVerdict(false, result.message);
    if (this.#stopped) return;
    this.#timer = this.#clock.after(this.#timings.periodMs, () => void this.#probe());
  }
}
