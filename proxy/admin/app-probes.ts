import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import { destinationKey } from '../../common/names.ts';
import type { Dialer, DialTarget } from '../../common/net.ts';
import type { AppProbe } from './app-probe-spec.ts';
import { httpProbe } from './http-probe.ts';

/** Asks the app once. Undefined where it is healthy, otherwise why not; never rejects. */
export type RunAppProbe = (probe: AppProbe) => Promise<string | undefined>;

export interface AppProbeDeps {
  readonly clock: Clock;
  readonly dialer: Dialer;
  /** Where the app itself listens for one of its container ports. */
  readonly appAddress: (port: number) => DialTarget;
}

/**
 * Runs an app's own probes in its stead for kubelet, which is outside the mesh: under STRICT the app's port would refuse
 * it. What counts as healthy is what counts for kubelet: a status of 200 to 399, a connection, SERVING. Any pod may ask, so a
 * probe that is under way answers all who ask meanwhile: no more run than the pod declares.
 */
export function appProber(deps: AppProbeDeps): RunAppProbe {
  const running = new Map<AppProbe, Promise<string | undefined>>();
  const start = (probe: AppProbe) => {
    const outcome = within(deps.clock, probe.timeoutMs, (signal) => run(deps, probe, signal))
      .catch(messageOf)
      .finally(() => running.delete(probe));
    running.set(probe, outcome);
    return outcome;
  };
  return (probe) => running.get(probe) ?? start(probe);
}

async function within<T>(
  clock: Clock,
  timeoutMs: number,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const timer = clock.after(timeoutMs, () =>
    controller.abort(new Error(`the app gave no answer within ${timeoutMs} ms`)),
  );
  try {
    return await task(controller.signal);
  } catch (thrown) {
    throw controller.signal.aborted ? controller.signal.reason : thrown;
  } finally {
    timer.cancel();
  }
}

function run(deps: AppProbeDeps, probe: AppProbe, signal: AbortSignal): Promise<string | undefined> {
  const app = deps.appAddress(probe.port);
  switch (probe.kind) {
    case 'http':
      return httpProbe(
        deps.dialer,
        probe,
        probe.host === undefined ? app : { host: probe.host, port: probe.port },
        signal,
      );
    case 'tcp':
      return tcpProbe(
        deps.dialer,
        probe.host === undefined ? app : { host: probe.host, port: probe.port },
        signal,
      );
    case 'grpc':
      return import('./grpc-probe.ts').then(({ grpcProbe }) =>
        grpcProbe(destinationKey(app.host, app.port), probe.service, signal),
      );
    default:
      return probe satisfies never;
  }
}

function tcpProbe(dialer: Dialer, target: DialTarget, signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    const stream = dialer.dial(target);
    stream.once('connect', () => {
      stream.destroy();
      resolve(undefined);
    });
    stream.on('error', reject);
    signal.addEventListener('abort', () => {
      stream.destroy();
      reject(signal.reason);
    });
  });
}
