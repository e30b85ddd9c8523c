import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { canonicalAddress } from '../../common/address.ts';
import type { Clock } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { tcpDialer } from '../../common/net.ts';
import type { Random } from '../../common/random.ts';
import { parseResolvConf } from '../../common/resolv-conf.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { followObjects } from '../../sources/open.ts';
import { probeForCircles } from './forward/circle-probe.ts';
import type { FlightDeps } from './forward/flight.ts';
import { Forwarder } from './forward/forwarder.ts';
import { DEFAULT_FORWARD_LIMITS } from './forward/limits.ts';
import { socketTransport } from './forward/transport.ts';
import { type Upstream, Upstreams, upstreamText } from './forward/upstreams.ts';
import { DNS_KINDS } from './kinds.ts';
import { DnsMetrics } from './metrics.ts';
import type { DnsOptions } from './options.ts';
import { type Zone, ZoneBuilder } from './records.ts';
import { Resolver } from './resolver.ts';
import { onceAddressIsThere } from './serve/await-address.ts';
import { DEFAULT_SERVE_LIMITS } from './serve/limits.ts';
import { serveTcp, type TcpServer } from './serve/tcp.ts';
import { serveUdp, type UdpServer } from './serve/udp.ts';

export interface DnsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface DnsProcess {
  readonly ports: { readonly dns: number; readonly metrics: number | undefined };
  /** Loses no question where another process answers at the same addresses. */
  close(): Promise<void>;
}

/**
 * Reads the objects, then answers. Waits for addresses that the node doesn't have yet; rejects where one can't be listened at.
 */
export async function startDns(options: DnsOptions, deps: DnsDeps): Promise<DnsProcess> {
  const { clock, random, log } = deps;
  const metrics = new DnsMetrics();
  const zone = await followZone(options, deps, metrics);
  const upstreams = upstreamsOf(options, log);
  const health = new Upstreams(upstreams, clock, DEFAULT_FORWARD_LIMITS);
  const flights: FlightDeps = {
    ...{
      upstreams: health,
      transport: socketTransport(tcpDialer),
      clock,
      random,
      limits: DEFAULT_FORWARD_LIMITS,
    },
    onAttempt: (upstream, outcome) => metrics.attempts.add(1, upstreamText(upstream), outcome),
  };
  const forwarder = upstreams.length === 0 ? undefined : new Forwarder(flights);
  const probe = probeForCircles(upstreams, { ...flights, log, clusterDomain: options.clusterDomain });
  const resolver = new Resolver({
    ...{ zone: zone.current, forwarder, random, clock, metrics, isOwnProbe: probe.isOwn },
  });
  const servers: (UdpServer | TcpServer)[] = [];
  const close = async () => {
    probe.close();
    await Promise.all(servers.map((server) => server.close()));
    forwarder?.close();
    zone.close();
    http?.close();
    http?.closeAllConnections();
  };
  let http: ReturnType<typeof createServer> | undefined;
  try {
    let { port } = options;
    for (const address of options.listen) {
      const common = { address, resolver, clock, metrics, limits: DEFAULT_SERVE_LIMITS };
      const at = { ...common, port };
      const tcp = await onceAddressIsThere(address, () => serveTcp(at), deps);
      servers.push(tcp);
      port = tcp.port;
      servers.push(await serveUdp({ ...common, port }));
    }
    if (options.metricsPort !== undefined)
      http = await serveMetrics(options.metricsListen, options.metricsPort, () =>
        render(metrics, forwarder, servers),
      );
    const metricsPort = (http?.address() as AddressInfo | null | undefined)?.port;
    probe.start();
    return { ports: { dns: port, metrics: metricsPort }, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

async function followZone(options: DnsOptions, { clock, log }: DnsDeps, metrics: DnsMetrics) {
  const builder = new ZoneBuilder({ clusterDomain: options.clusterDomain, dnsAddresses: options.listen });
  const reported = new Set<string>();
  const build = (objects: readonly SourcedObject[]): Zone => {
    const built = builder.build(objects, Math.floor(clock.wallMs() / 1000));
    metrics.state.set(built.services.size, 'services');
    metrics.state.set(built.pods.size, 'pod-addresses');
    for (const problem of built.problems)
      if (!reported.has(problem)) log.warn('a name is not answered', { problem });
    reported.clear();
    for (const problem of built.problems) reported.add(problem);
    return built;
  };
  let current: Zone | undefined;
  const source = await followObjects(options, DNS_KINDS, {
    ...{ clock, log },
    onChange: (state) => {
      current = build(state.objects);
    },
  });
  current ??= build(source.current().objects);
  const first = current;
  return { current: () => current ?? first, close: () => source.close() };
}

/** Those given, else the host's; never one of our own addresses. */
function upstreamsOf(options: DnsOptions, log: Logger): readonly Upstream[] {
  const listed = options.upstreams ?? hostNameservers(options.resolvConf, log);
  const own = new Set(options.listen.map(canonicalAddress));
  const usable = listed.filter(
    (one) => !(one.port === options.port && own.has(canonicalAddress(one.address))),
  );
  if (usable.length < listed.length) log.warn('an upstream is this server itself, so it is not asked');
  if (usable.length === 0) log.warn('there is no upstream: only names of the cluster are answered');
  return usable;
}

function hostNameservers(file: string, log: Logger): readonly Upstream[] {
  try {
    return parseResolvConf(readFileSync(file, 'utf8')).nameservers.map((address) => ({ address, port: 53 }));
  } catch (thrown) {
    log.warn('the list of nameservers can not be read', { file, error: messageOf(thrown) });
    return [];
  }
}

function render(
  metrics: DnsMetrics,
  forwarder: Forwarder | undefined,
  servers: readonly (UdpServer | TcpServer)[],
): string {
  const stats = forwarder?.stats();
  metrics.state.set(stats?.cacheEntries ?? 0, 'cache-entries');
  metrics.state.set(stats?.cacheBytes ?? 0, 'cache-bytes');
  metrics.state.set(stats?.flights ?? 0, 'upstream-questions');
  metrics.state.set(stats?.waiting ?? 0, 'waiting-clients');
  const connections = servers.reduce((sum, one) => sum + ('connections' in one ? one.connections : 0), 0);
  metrics.state.set(connections, 'tcp-connections');
  return metrics.render();
}

/** Alive and ready are one here: it is served once the objects are read and all addresses are listened at. */
async function serveMetrics(address: string, port: number, text: () => string) {
  const server = createServer((request, response) => {
    const { url } = request;
    if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405).end();
    else if (url === '/metrics') response.setHeader('content-type', 'text/plain; version=0.0.4').end(text());
    else if (url === '/healthz' || url === '/readyz') response.end('ok\n');
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (thrown) =>
      reject(
        new HeddleError('listen', `metrics ${address} port ${port}: ${messageOf(thrown)}`, { cause: thrown }),
      ),
    );
    server.listen({ host: address, port, reusePort: true }, resolve);
  });
  return server;
}
