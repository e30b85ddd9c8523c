import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { HeddleError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import { systemRandom } from '../common/random.ts';
import type { Problem } from '../model/objects.ts';
import type { KubernetesClient } from '../sources/kubernetes/client.ts';
import { type ChangeableAuthority, changeableAuthority, loadOrMakeRoot } from './ca/authority.ts';
import { Pace } from './ca/pace.ts';
import { serverIdentity } from './ca/server-credentials.ts';
import { caService } from './ca/service.ts';
import { localTokenAuthenticator, noTokens, type TokenAuthenticator } from './ca/token.ts';
import { pageAccess } from './dashboard/page-access.ts';
import { proxyPages } from './dashboard/proxy-pages.ts';
import { startDashboard } from './dashboard/server.ts';
import { startDropFeed } from './drops/feed.ts';
import { startGrpc } from './grpc.ts';
import { ClusterDuties } from './kubernetes/duties.ts';
import { followRootSecret, type RootFollower } from './kubernetes/root-follower.ts';
import { besidesOf, loadOrMakeRootSecret } from './kubernetes/root-secret.ts';
import { podIndex, tokenReviewAuthenticator } from './kubernetes/token-review.ts';
import { ControlPlaneMetrics, startMetrics } from './metrics.ts';
import type { ControlPlaneOptions, ControlPlanePorts } from './options.ts';
import { type Pipeline, startPipeline } from './pipeline.ts';
import { fetchProxyState } from './proxy-state.ts';
import { Readiness } from './readiness.ts';
import { type SidecarAdminOptions, sidecarAdmin } from './sidecar-admin.ts';
import { openSources, type Sources } from './sources.ts';
import { siblingService } from './traces/sibling-service.ts';
import { Siblings, siblingPods } from './traces/siblings.ts';
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
  readonly root: Root;
  readonly metrics: ControlPlaneMetrics;
  readonly pipeline: Pipeline;
  /** Undefined where there is no API server. */
  readonly cluster: Cluster | undefined;
  readonly traces: TraceThread;
  /** Run in reverse at the end. */
  readonly closers: (() => unknown)[];
}

/** What lives on an API server alone. */
interface Cluster {
  readonly client: KubernetesClient;
  readonly duties: ClusterDuties;
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
    // 1. health: answers from the first moment on, while an API server is waited for.
    const readiness = new Readiness();
    const sourcesThere = readiness.need('the objects and settings');
    const rootThere = readiness.need('the root of the CA');
    const portsThere = readiness.need('its ports');
    const metrics = new ControlPlaneMetrics();
    let page: (() => string) | undefined;
    const health = await startMetrics({
      ...{ listen: options.listen, port: options.ports.metrics, readiness, render: () => page?.() },
    });
    closers.push(() => health.close());

    // 2. sources: folders, or an API server.
    let pipeline: Pipeline | undefined;
    const sources = await openSources(options, { clock, log, onChange: () => pipeline?.changed() });
    closers.push(() => sources.close());
    const { settings, problems } = sources.settings.current();
    refuseUnsound(problems);
    sourcesThere();

    // 3. root: of the state directory, or of a Secret that all replicas share.
    const root = await openRoot(options, sources, clock, log);
    closers.push(() => root.follower?.close());
    rootThere();

    // 4. pipeline: from objects to what proxies are told.
    let cluster: Cluster | undefined;
    pipeline = startPipeline({
      ...{ objects: sources.objects, settings: sources.settings, clock, log },
      trustBundlePem: () => root.authority.trustBundlePem(),
      onBuilt: (tookMs) => metrics.builds.observe(tookMs / 1000),
      programmed: (own, statuses) => cluster?.duties.programmed(own, statuses) ?? own,
    });
    closers.push(() => pipeline.close());
    closers.push(root.authority.onChange(() => pipeline.changed()));

    // 5. duties: what is written back to the API server.
    cluster = startDuties({ options, sources, root, pipeline, clock, log });
    closers.push(() => cluster?.duties.close());

    // 6. traces: in a thread of their own.
    const traces = await openTraces(options, program);
    closers.push(() => traces.close());

    // 7. ports: the proxies' first.
    const parts = { options, clock, log, root, metrics, pipeline, cluster, traces, closers };
    const { view, ...ports } = await listen(parts);
    page = () => metrics.render(view, traces.reader);
    portsThere();
    return { ports: { ...ports, metrics: health.port }, trustDomain: settings.trustDomain, close };
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

interface Root {
  readonly authority: ChangeableAuthority;
  /** Where the root is in a Secret, which others may change. */
  readonly follower: RootFollower | undefined;
}

async function openRoot(
  options: ControlPlaneOptions,
  { client: api, settings }: Sources,
  clock: Clock,
  log: Logger,
): Promise<Root> {
  const { trustDomain, rootTtlMs } = settings.current().settings;
  if (api === undefined) {
    const root = loadOrMakeRoot(options.stateDir, trustDomain, rootTtlMs, clock);
    return { authority: changeableAuthority(root, [], clock), follower: undefined };
  }
  const ref = { namespace: options.namespace, name: options.caSecret };
  const first = await loadOrMakeRootSecret({ api, ref, clock, log, trustDomain, rootTtlMs });
  const authority = changeableAuthority(first.issuer, besidesOf(first), clock);
  return { authority, follower: followRootSecret({ api, ref, clock, log, authority, first }) };
}

function startDuties(
  parts: Pick<Parts, 'options' | 'root' | 'pipeline' | 'clock' | 'log'> & { readonly sources: Sources },
): Cluster | undefined {
  const { options, root, pipeline, clock, log } = parts;
  const { client } = parts.sources;
  if (client === undefined || root.follower === undefined) return undefined;
  const { namespace, replica: identity } = options;
  const duties = new ClusterDuties({
    ...{ client, namespace, identity, clock, log, random: systemRandom },
    ...{ pipeline, authority: root.authority, root: root.follower },
  });
  return { client, duties };
}

function openTraces(options: ControlPlaneOptions, program: string): Promise<TraceThread> {
  const { stateDir, listen, ports, logLevel, traceDiskBytesMax: diskBytesMax } = options;
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  return startTraceThread({
    ...{ program, path: join(stateDir, 'traces.db'), diskBytesMax, listen, logLevel },
    ...{ grpcPort: ports.otlpGrpc, httpPort: ports.otlpHttp },
    onFailure: (thrown) => {
      throw thrown;
    },
  });
}

/** Opens the ports of proxies and people. */
async function listen(parts: Parts) {
  const { options, clock, log, root, pipeline, traces, closers } = parts;
  const { listen: address, ports, nodeAgents } = options;
  const identity = serverIdentity({
    ...{ authority: root.authority, trustDomain: pipeline.settings().trustDomain, clock, log },
    ttlMs: () => pipeline.settings().leafTtlMs,
  });
  closers.push(() => identity.close());
  closers.push(root.authority.onChange(() => identity.renew()));
  const admins: SidecarAdminOptions = {
    mesh: () => pipeline.mesh(),
    trustBundlePem: () => root.authority.trustBundlePem(),
    own: () => identity.current(),
  };
  const view = viewOf(parts, admins);
  const siblings = siblingsOf(parts, admins);
  const grpc = await startGrpc({
    ...{ listen: address, port: ports.xds, credentials: identity.credentials },
    ...{ ca: certificates(parts), xds: pipeline.xds.service, traces: siblings?.service },
  });
  closers.push(() => grpc.close());
  const drops = nodeAgents.length === 0 ? undefined : startDropFeed({ sockets: nodeAgents, clock, log });
  closers.push(() => drops?.close());
  const sidecarPages = proxyPages({
    ...{ sidecar: (pod) => sidecarAdmin(pod, admins), log },
    access: pageAccess(options.dashboardListen, parts.cluster?.client),
  });
  closers.push(() => sidecarPages.close());
  const dashboard = await startDashboard({
    ...{ view, drops, proxyPages: sidecarPages, traces: traces.reader, siblings: siblings?.list, log, clock },
    ...{ listen: options.dashboardListen, port: ports.dashboard },
  });
  closers.push(() => dashboard.close());
  const { grpcPort: otlpGrpc, httpPort: otlpHttp } = traces;
  return { view, xds: grpc.port, otlpGrpc, otlpHttp, dashboard: dashboard.port };
}

/** Other replicas and this one, as far as traces go; only an API server knows of any. */
function siblingsOf(parts: Parts, { own, trustBundlePem }: SidecarAdminOptions) {
  const { options, clock, log, pipeline, cluster, traces, closers } = parts;
  if (cluster === undefined) return undefined;
  const { trustDomain } = pipeline.settings();
  const siblings = new Siblings({
    ...{ port: options.ports.xds, trustDomain, trustBundlePem, own, clock },
    pods: () => siblingPods(pipeline.mesh(), options),
  });
  closers.push(() => siblings.close());
  const service = siblingService({ text: (question) => traces.text(question), trustDomain, clock, log });
  return { service, list: () => siblings.list() };
}

function certificates({ options, clock, log, root, metrics, pipeline, cluster }: Parts) {
  return caService({
    ...{ authority: root.authority, log, pace: new Pace(clock) },
    tokens: tokensOf(options, pipeline, cluster, clock),
    trustDomain: () => pipeline.settings().trustDomain,
    leafTtlMs: () => pipeline.settings().leafTtlMs,
    count: (outcome) => metrics.certificates.add(1, outcome),
  });
}

function tokensOf(
  { tokenIssuerKeyFile }: ControlPlaneOptions,
  pipeline: Pipeline,
  cluster: Cluster | undefined,
  clock: Clock,
): TokenAuthenticator {
  if (cluster !== undefined) {
    const pod = podIndex(() => pipeline.objects());
    return tokenReviewAuthenticator({ api: cluster.client, clock, pod });
  }
  if (tokenIssuerKeyFile === undefined) return noTokens;
  return localTokenAuthenticator(readFileSync(tokenIssuerKeyFile, 'utf8'), LOCAL_ISSUER, clock);
}

function viewOf({ pipeline, root, cluster, log }: Parts, admins: SidecarAdminOptions): ControlPlaneView {
  return {
    mesh: admins.mesh,
    objects: () => pipeline.objects(),
    statuses: () => pipeline.statuses(),
    statusOf: (object) => pipeline.statusOf(object),
    problems: () => [
      ...pipeline.problems(),
      ...(root.follower?.problems() ?? []),
      ...(cluster?.duties.problems() ?? []),
    ],
    proxies: () => pipeline.xds.trackers().map((tracker) => tracker.info()),
    onChange: (listener) => pipeline.onChange(listener),
    proxyState: (pod) => fetchProxyState(pod, { ...admins, log }),
  };
}
