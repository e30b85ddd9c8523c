import type { ReasonCode } from '../../common/reasons.ts';
import {
  type ConnectionLimits,
  DEFAULT_CLUSTER_POLICY,
  DEFAULT_REQUEST_POLICY,
  type RetryPolicy,
  type TimeoutPolicy,
} from '../../model/policy-types.ts';
import {
  type AppProtocol,
  type Cluster,
  DEFAULT_SIDECAR_SETTINGS,
  type Destination,
  type Endpoint,
  type InboundConfig,
  type RouteRule,
  type SidecarSettings,
  type Snapshot,
} from '../../model/snapshot.ts';
import type { ConfigStage, FoundDestination } from '../../proxy/stage.ts';

/** Services as a test describes them, in the place of what xDS would have delivered. */

export interface FakeService {
  readonly host: string;
  readonly port: number;
  readonly protocol?: AppProtocol;
  readonly endpoints: readonly FakeEndpoint[];
  readonly retry?: Partial<RetryPolicy>;
  readonly timeouts?: Partial<TimeoutPolicy>;
  readonly limits?: Partial<ConnectionLimits>;
  readonly rule?: Partial<RouteRule>;
  readonly delayMs?: number;
  /** The mesh answers itself. */
  readonly answer?: ReasonCode;
  /** The mesh answers itself with a redirect to there. */
  readonly redirect?: string;
  /** Clusters that get a copy of each request, each at its first endpoint. */
  readonly mirrors?: readonly string[];
}

export interface FakeEndpoint {
  readonly address: string;
  readonly port: number;
  readonly identities?: readonly string[];
}

export class FakeConfig implements ConfigStage {
  readonly services = new Map<string, FakeService>();
  readonly clusters = new Map<string, Cluster>();
  inboundConfig: InboundConfig | undefined;
  found: (host: string, port: number) => FoundDestination | Promise<FoundDestination> = (host, port) =>
    this.services.has(`${host}:${port}`) ? { kind: 'mesh', key: `${host}:${port}` } : { kind: 'external' };

  constructor() {
    this.inboundConfig = {
      ports: [],
      defaultMode: 'PERMISSIVE',
      settings: DEFAULT_SIDECAR_SETTINGS,
      draining: false,
    };
  }

  add(service: FakeService): void {
    const key = `${service.host}:${service.port}`;
    this.services.set(key, service);
    this.clusters.set(key, {
      name: key,
      namespace: 'shop',
      service: service.host,
      port: service.port,
      protocol: service.protocol ?? 'auto',
      policy: {
        ...DEFAULT_CLUSTER_POLICY,
        limits: { ...DEFAULT_CLUSTER_POLICY.limits, ...service.limits },
      },
      endpoints: service.endpoints.map(endpointOf),
    });
  }

  settings(change: Partial<SidecarSettings>): void {
    if (this.inboundConfig === undefined) return;
    this.inboundConfig = { ...this.inboundConfig, settings: { ...this.inboundConfig.settings, ...change } };
  }

  snapshot(): Snapshot {
    return {
      destination: (key) => {
        const service = this.services.get(key);
        return service === undefined ? undefined : destinationOf(service);
      },
      cluster: (name) => this.clusters.get(name),
    };
  }

  inbound(): InboundConfig | undefined {
    return this.inboundConfig;
  }

  find(host: string, port: number): FoundDestination | Promise<FoundDestination> {
    return this.found(host, port);
  }
}

function endpointOf(fake: FakeEndpoint): Endpoint {
  return {
    key: `${fake.address}:${fake.port}`,
    address: fake.address,
    port: fake.port,
    pod: undefined,
    node: undefined,
    zone: undefined,
    weight: 1,
    health: 'ready',
    mtls: fake.identities !== undefined,
    identities: fake.identities ?? [],
  };
}

export function destinationOf(service: FakeService): Destination {
  return {
    key: `${service.host}:${service.port}`,
    namespace: 'shop',
    service: service.host,
    port: service.port,
    protocol: service.protocol ?? 'auto',
    addresses: [],
    entries: [],
    defaultCluster: `${service.host}:${service.port}`,
    policy: DEFAULT_REQUEST_POLICY,
  };
}
