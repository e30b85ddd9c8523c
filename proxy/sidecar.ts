import { isIPv6 } from 'node:net';
import type { Clock } from '../common/clock.ts';
import { PORTS } from '../common/contracts.ts';
import type { Logger } from '../common/log.ts';
import type { Dialer, DialTarget } from '../common/net.ts';
import type { Random } from '../common/random.ts';
import { DEFAULT_SIDECAR_SETTINGS } from '../model/snapshot.ts';
import { adminPages, pagesWithLevel } from './admin/actions.ts';
import { appProber } from './admin/app-probes.ts';
import { ControlPlaneAdmin } from './admin/control-plane-admin.ts';
import { guardBrowsers } from './admin/guard.ts';
import { type HealthView, healthPages } from './admin/health.ts';
import { metricsPage } from './admin/metrics-page.ts';
import { type AdminView, type ProcessStats, readOnlyPages } from './admin/pages.ts';
import { type AdminServer, serveAdmin } from './admin/server.ts';
import { type Bootstrap, onSharedLoopback } from './bootstrap.ts';
import type { Listen } from './listener/tcp-listen.ts';
import { LiveState } from './policy/live-state.ts';
import { createStack, type Resolver, type Stack } from './stack.ts';
import { SidecarMetrics } from './telemetry/metrics.ts';
import { followCollector } from './telemetry/span-export.ts';
import type { SpanSink } from './telemetry/span-record.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import { type ControlPlaneLink, connectControlPlane } from './xds/control-plane-link.ts';

export interface SidecarDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly dialer: Dialer;
  readonly listen: Listen;
  readonly resolver: Resolver;
  readonly log: Logger;
  readonly processStats: () => ProcessStats;
  /** What `POST /quit` does: end the process as SIGTERM would. */
  readonly quit: () => void;
}

/** One sidecar, whole: the data path, its link to the control plane, its telemetry and its own pages. */
export class Sidecar {
  readonly #bootstrap: Bootstrap;
  readonly #deps: SidecarDeps;
  readonly #metrics = new SidecarMetrics();
  readonly #policy: LiveState;
  readonly #spans: SpanSink;
  readonly #link: ControlPlaneLink;
  readonly #stack: Stack;
  readonly #controlPlaneAdmin: ControlPlaneAdmin;
  readonly #admins: AdminServer[] = [];
  #listening = false;
  #drained: Promise<void> | undefined;

  /** Begins to connect to the control plane at once; `open` opens the ports. */
  constructor(bootstrap: Bootstrap, deps: SidecarDeps) {
    const { clock, random, log } = deps;
    this.#bootstrap = bootstrap;
    this.#deps = deps;
    this.#link = connectControlPlane(bootstrap, { clock, random, log });
    this.#policy = this.#livePolicy();
    this.#spans = followCollector(
      {
        ...{ serviceName: bootstrap.serviceName, resource: resourceOf(bootstrap), log, clock },
        onDropped: (why, count) => this.#metrics.spansDropped.add(count, why),
      },
      () => this.#settings().tracing.otlpEndpoint || bootstrap.otlpEndpoint,
    );
    this.#stack = createStack({
      ...{ config: this.#link.config, identity: this.#link.identity, policy: this.#policy },
      telemetry: new Telemetry({
        ...{ clock, random, log, metrics: this.#metrics, spans: this.#spans },
        settings: () => this.#tracing(),
      }),
      ...{ clock, random, log, dialer: deps.dialer, resolver: deps.resolver, listen: deps.listen },
      podAddresses: [bootstrap.podIp, ...bootstrap.podIps],
    });
    this.#controlPlaneAdmin = new ControlPlaneAdmin({
      ...{ host: this.#podHost(), port: PORTS.proxyAdminForControlPlane, log },
      ...{ trustDomain: bootstrap.trustDomain, identity: this.#link.identity },
      ...{ pages: pagesWithLevel(readOnlyPages(this.#view()), log), wallMs: () => clock.wallMs() },
    });
    this.#link.onInbound(({ draining }) => {
      if (draining) this.drain();
    });
  }

  /**
   * Opens every port, and settles once the sidecar is ready to serve. Rejects where a port can't be had (`HeddleError`,
   * code `listen`, or the system's error).
   */
  async open(): Promise<void> {
    await Promise.all([this.#openHealth(), this.#openMetrics(), this.#openAdmin(), this.#openDataPath()]);
    this.#listening = true;
    await this.#link.ready;
    this.#admins.push(await this.#controlPlaneAdmin.start());
  }

  /** Takes no new work beyond each connection's next request. Settles when all is served, or grace is over. */
  drain(): Promise<void> {
    if (this.#drained === undefined) {
      this.#deps.log.info('draining', { graceMs: this.#settings().drainGraceMs });
      this.#drained = this.#stack.drain(this.#settings().drainGraceMs);
    }
    return this.#drained;
  }

  /** Drains, sends the last spans, closes everything. */
  async stop(): Promise<void> {
    void this.drain();
    // Whatever began before this moment, also while an earlier drain was quiet already.
    await this.#stack.drain(this.#settings().drainGraceMs);
    await this.#stack.retire();
    await this.#spans.close();
    this.#link.close();
    await this.#controlPlaneAdmin.close();
    await Promise.all(this.#admins.map((admin) => admin.close()));
    await this.#stack.close();
    this.#policy.close();
  }

  async #openDataPath(): Promise<void> {
    const { capture, containerPorts } = this.#bootstrap;
    if (capture === 'transparent') {
      const anywhere = { containerPort: undefined, app: undefined };
      for (const host of this.#captureHosts()) {
        await this.#stack.listenOutbound({ host, port: PORTS.proxyOutbound }, capture);
        await this.#stack.listenInbound({ host, port: PORTS.proxyInbound }, anywhere);
      }
      return;
    }
    const host = this.#podHost();
    await this.#stack.listenOutbound({ host, port: PORTS.proxyOutbound }, capture);
    for (const { port, appPort } of containerPorts) {
      const app = { host: '127.0.0.1', port: appPort };
      await this.#stack.listenInbound({ host, port }, { containerPort: port, app });
    }
  }

  async #openHealth(): Promise<void> {
    const { clock, dialer, log } = this.#deps;
    const runProbe = appProber({ clock, dialer, appAddress: (port) => this.#appAddress(port) });
    const handle = healthPages(() => this.#health(), this.#bootstrap.appProbes, runProbe);
    await this.#serve('health', this.#podHost(), PORTS.proxyHealth, { handle, log });
  }

  async #openMetrics(): Promise<void> {
    const { clock, dialer, log } = this.#deps;
    const { appMetrics } = this.#bootstrap;
    const handle = metricsPage({
      ...{ clock, dialer, render: () => this.#renderMetrics() },
      app:
        appMetrics === undefined
          ? undefined
          : { target: this.#appAddress(appMetrics.port), path: appMetrics.path },
    });
    await this.#serve('metrics', this.#podHost(), PORTS.proxyMetrics, { handle, log });
  }

  /** On 127.0.0.1, which is the pod's own. Where pods share one loopback, each has its own address of 127.0.0.0/8. */
  async #openAdmin(): Promise<void> {
    const { log, quit } = this.#deps;
    const { podIp } = this.#bootstrap;
    const host = onSharedLoopback(podIp) ? podIp : '127.0.0.1';
    const actions = { drain: () => void this.drain(), quit };
    const handle = adminPages(readOnlyPages(this.#view()), actions, log);
    await this.#serve('admin', host, PORTS.proxyAdmin, { handle, log, guard: guardBrowsers(host) });
  }

  async #serve(
    name: string,
    host: string,
    port: number,
    rest: Omit<Parameters<typeof serveAdmin>[0], 'name' | 'host' | 'port'>,
  ): Promise<void> {
    this.#admins.push(await serveAdmin({ name: `the ${name} port`, host, port, ...rest }));
  }

  #livePolicy(): LiveState {
    const { clock, log } = this.#deps;
    const metrics = this.#metrics;
    const policy = new LiveState(clock, {
      breakerChanged(cluster, state) {
        metrics.breakers.set(state === 'closed' ? 0 : 1, cluster);
        log.info('breaker', { cluster, state });
      },
      endpointEjected(cluster, endpoint, forMs) {
        metrics.ejections.add(1, cluster);
        log.info('endpoint ejected', { cluster, endpoint, forMs: Math.round(forMs) });
      },
      clusterForgotten: (cluster) => metrics.breakers.forget(cluster),
    });
    this.#link.onSnapshot((snapshot) =>
      policy.retain(snapshot, new Set(this.#link.contents().clusters.map(({ name }) => name))),
    );
    return policy;
  }

  #health(): HealthView {
    return {
      hasCertificate: this.#link.identity.current() !== undefined,
      hasConfiguration: this.#link.config.inbound() !== undefined,
      listening: this.#listening,
      draining: this.#drained !== undefined,
    };
  }

  #view(): AdminView {
    const { podName, podNamespace, nodeName } = this.#bootstrap;
    return {
      ...{ config: this.#link.config, identity: this.#link.identity },
      link: () => this.#link.status(),
      contents: () => this.#link.contents(),
      liveState: () => this.#policy.dump(),
      stack: () => this.#stack.stats(),
      process: this.#deps.processStats,
      about: { pod: `${podNamespace}/${podName}`, node: nodeName },
    };
  }

  #renderMetrics(): string {
    const { connected, certificateExpiresAtMs } = this.#link.status();
    this.#metrics.connected.set(connected ? 1 : 0);
    if (certificateExpiresAtMs !== undefined) {
      this.#metrics.certificateExpiry.set((certificateExpiresAtMs - this.#deps.clock.wallMs()) / 1000);
    }
    return this.#metrics.render();
  }

  #settings() {
    return this.#link.config.inbound()?.settings ?? DEFAULT_SIDECAR_SETTINGS;
  }

  #tracing() {
    const { tracing } = this.#settings();
    const own = this.#bootstrap.traceSamplingPercent;
    return own === undefined ? tracing : { ...tracing, samplingPercent: own };
  }

  /** Captured connections are handed to the listeners wherever they stand: on loopback nobody else reaches them. */
  #captureHosts(): readonly string[] {
    return this.#bootstrap.podIps.some((ip) => isIPv6(ip)) ? ['127.0.0.1', '::1'] : ['127.0.0.1'];
  }

  /** Where the ports that the node and the control plane call are bound. */
  #podHost(): string {
    const { capture, podIp, podIps } = this.#bootstrap;
    if (capture === 'http-proxy') return podIp;
    return podIps.some((ip) => isIPv6(ip)) ? '::' : '0.0.0.0';
  }

  /** Where the app listens for one of its ports: behind a mapping in loopback mode, else at the pod's address. */
  #appAddress(port: number): DialTarget {
    const mapped = this.#bootstrap.containerPorts.find((one) => one.port === port);
    return mapped === undefined
      ? { host: this.#bootstrap.podIp, port }
      : { host: '127.0.0.1', port: mapped.appPort };
  }
}

function resourceOf({ podName, podNamespace, nodeName }: Bootstrap): Readonly<Record<string, string>> {
  return {
    'service.namespace': podNamespace,
    'k8s.namespace.name': podNamespace,
    'k8s.pod.name': podName,
    'k8s.node.name': nodeName,
  };
}
