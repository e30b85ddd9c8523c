import { isRead, NOT_FOUND, notAllowed, type PageHandler, text } from './answer.ts';
import type { AppProbes } from './app-probe-spec.ts';
import { APP_HEALTH_PREFIX } from './app-probe-spec.ts';
import type { RunAppProbe } from './app-probes.ts';

/** What the sidecar lacks before it may serve, asked anew each time. */
export interface HealthView {
  readonly hasCertificate: boolean;
  readonly hasConfiguration: boolean;
  readonly listening: boolean;
  readonly draining: boolean;
}

/** Why the sidecar isn't ready, or undefined. */
export function unreadyReason(view: HealthView): string | undefined {
  if (!view.hasCertificate) return 'no certificate from the CA yet';
  if (!view.hasConfiguration) return 'no configuration from the control plane yet';
  if (!view.listening) return 'the listeners are not open yet';
  return view.draining ? 'draining' : undefined;
}

/**
 * The health port. `/healthz/ready` is 200 once the sidecar serves, 503 with the reason before. While it drains it is 503
 * again: whoever balances by health must send nothing new here. No kubelet restarts a pod over that, since the injector
 * sets a startup probe only, and that has succeeded by then.
 */
export function healthPages(view: () => HealthView, probes: AppProbes, runProbe: RunAppProbe): PageHandler {
  return async (request) => {
    if (!isRead(request)) return notAllowed('GET', 'HEAD');
    if (request.path === '/healthz/ready') {
      const reason = unreadyReason(view());
      return reason === undefined ? text(200, 'ready') : text(503, `not ready: ${reason}`);
    }
    const probe = probes.get(request.path);
    if (probe !== undefined) {
      const problem = await runProbe(probe);
      return problem === undefined ? text(200, 'healthy') : text(503, problem);
    }
    if (request.path.startsWith(APP_HEALTH_PREFIX)) return text(404, 'the pod declares no such probe');
    return NOT_FOUND;
  };
}
