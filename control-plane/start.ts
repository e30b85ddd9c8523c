import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { HeddleError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import type { Problem } from '../model/objects.ts';
import { type CertificateAuthority, createAuthority, loadOrMakeRoot } from './ca/authority.ts';
import { Pace } from './ca/pace.ts';
import { serverIdentity } from './ca/server-credentials.ts';
import { caService } from './ca/service.ts';
import { localTokenAuthenticator, noTokens } from './ca/token.ts';
import { startDashboard } from './dashboard/server.ts';
import { startDropFeed } from './drops/feed.ts';
import { startGrpc } from './grpc.ts';
import { ControlPlaneMetrics, startMetrics } from './metrics.ts';
import type { ControlPlaneOptions, ControlPlanePorts } from './options.ts';
import { type Pipeline, startPipeline } from './pipeline.ts';
import { fetchProxyState } from './proxy-state.ts';
import { openSources } from './sources.ts';
import { startTraceThread, type TraceThread } from './traces/thread.ts';
import type { ControlPlaneView } from './view.ts';

/** `iss` of the tokens that the local mesh's runner signs. */
const LOCAL_ISSUER = 'heddle-local';

export interface ControlPlane {
  readonly ports: ControlPlanePorts;
  readonly trustDomain: string;
  close(): Promise<void>;
}

/** What the servers of one control plane are made of. */
interface Parts {
  readonly options: ControlPlaneOptions;
  readonly clock: Clock;
  readonly log: Logger;
  readonly authority: CertificateAuthority;
  readonly metrics: ControlPlaneMetrics;
  readonly pipeline: Pipeline;
  readonly traces: TraceThread;
  /** Run in reverse at the end. */
  readonly closers: (() => unknown)[];
}

/** Starts the control plane; `program` is its main module, which the trace thread runs as well. Rejects where a port, the root or the state directory can't be used; nothing stays open then. */
export async function startControlPlane(
  options: ControlPlaneOptions,
  program: string,
  clock: Clock,
  log: Logger,
): Promise<ControlPlane> {
  const closers: (() => unknown)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer();
  };
  try {
    let pipeline: Pipeline | undefined;
    const sources = await openSources(options, { clock, log, onChange: () => pipeline?.changed() });
    closers.push(() => sources.close());
    const { settings, problems } = sources.settings.current();
    refuseUnsound(problems);
    const root = loadOrMakeRoot(options.stateDir, settings.trustDomain, settings.rootTtlMs, clock);
    const authority = createAuthority(root, clock);
    const metrics = new ControlPlaneMetrics();
    pipeline = startPipeline({
      ...{ objects: sources.objects, settings: sources.settings, clock, log },
      trustBundlePem: () => authority.trustBundlePem(),
      onBuilt: (tookMs) => metrics.builds.observe(tookMs / 1000),
    });
    closers.push(() => pipeline.close());
    const traces = await startTraceThread({
      ...{ program, path: join(options.stateDir, 'traces.db'), listen: options.listen },
      ...{ grpcPort: options.ports.otlpGrpc, httpPort: options.ports.otlpHttp, logLevel: options.logLevel },
      onFailure: (thrown) => {
        throw thrown;
      },
    });
    closers.push(() => traces.close());
    const ports = await listen({ options, clock, log, authority, metrics, pipeline, traces, closers });
    return { ports, trustDomain: pipeline.settings().trustDomain, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** With no good settings to go on with, defaults could be looser than what the file means to ask for. */
function refuseUnsound(problems: readonly Problem[]): void {
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (errors.length === 0) return;
  const lines = errors.map(({ source, line, message }) => `${source}:${line}: ${message}`);
  throw new HeddleError('settings', `the settings can't be used: ${lines.join('; ')}`);
}

/** Opens every port, the proxies' first. */
async function listen(parts: Parts): Promise<ControlPlanePorts> {
  const { options, clock, log, authority, metrics, pipeline, traces, closers } = parts;
  const { listen: address, ports } = options;
  const identity = serverIdentity({
    ...{ authority, trustDomain: pipeline.settings().trustDomain, clock, log },
    ttlMs: () => pipeline.settings().leafTtlMs,
  });
  closers.push(() => identity.close());
  const view = viewOf(parts, () => identity.current());
  const grpc = await startGrpc({
    ...{ listen: address, port: ports.xds, credentials: identity.credentials },
    ...{ ca: certificates(parts), xds: pipeline.xds.service },
  });
  closers.push(() => grpc.close());
  const { nodeAgents } = options;
  const drops = nodeAgents.length === 0 ? undefined : startDropFeed({ sockets: nodeAgents, clock, log });
  closers.push(() => drops?.close());
  const dashboard = await startDashboard({
    ...{
      view,
      drops,
      traces: traces.reader,
      listen: options.dashboardListen,
      port: ports.dashboard,
      log,
      clock,
    },
  });
  closers.push(() => dashboard.close());
  const scraped = await startMetrics({
    ...{ listen: address, port: ports.metrics, render: () => metrics.render(view, traces.reader) },
  });
  closers.push(() => scraped.close());
  return {
    ...{ xds: grpc.port, otlpGrpc: traces.grpcPort, otlpHttp: traces.httpPort },
    ...{ dashboard: dashboard.port, metrics: scraped.port },
  };
}

function certificates({ options, clock, log, authority, metrics, pipeline }: Parts) {
  const { tokenIssuerKeyFile } = options;
  const tokens =
    tokenIssuerKeyFile === undefined
      ? noTokens
      : localTokenAuthenticator(readFileSync(tokenIssuerKeyFile, 'utf8'), LOCAL_ISSUER, clock);
  return caService({
    ...{ authority, tokens, log, pace: new Pace(clock) },
    trustDomain: () => pipeline.settings().trustDomain,
    leafTtlMs: () => pipeline.settings().leafTtlMs,
    count: (outcome) => metrics.certificates.add(1, outcome),
  });
}

function viewOf(
  { pipeline, authority, log }: Parts,
  own: () => { readonly certificatePem: string; readonly privateKeyPem: string },
): ControlPlaneView {
  const mesh = () => pipeline.mesh();
  return {
    mesh,
    objects: () => pipeline.objects(),
    statuses: () => pipeline.statuses(),
    statusOf: (object) => pipeline.statusOf(object),
    problems: () => pipeline.problems(),
    proxies: () => pipeline.xds.trackers().map((tracker) => tracker.info()),
    onChange: (listener) => pipeline.onChange(listener),
    proxyState: (pod) =>
      fetchProxyState(pod, { mesh, trustBundlePem: () => authority.trustBundlePem(), own, log }),
  };
}
