import type { ClusterPolicy, RequestPolicy } from './policy-types.ts';

/**
 * What one client needs to know to decide about requests: the shape that the control plane translates to xDS, that a
 * sidecar rebuilds from xDS, and that `decide` reads. Frozen, and swapped whole.
 */

export type AppProtocol = 'http' | 'http2' | 'grpc' | 'tcp' | 'tls' | 'auto';

export type StringMatch =
  | { readonly kind: 'exact'; readonly value: string }
  /** RE2 syntax; the whole value must match. */
  | { readonly kind: 'regex'; readonly value: string };

export type PathMatch =
  | { readonly kind: 'exact'; readonly value: string }
  /** By path elements: `/a` matches `/a` and `/a/b`, not `/ab`. */
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly value: string };

export interface NamedMatch {
  /** Header names in lower case; query parameters as written. */
  readonly name: string;
  readonly match: StringMatch;
}

/** All conditions must hold. */
export interface RouteMatch {
  readonly path: PathMatch;
  readonly method: string | undefined;
  readonly headers: readonly NamedMatch[];
  readonly queryParams: readonly NamedMatch[];
}

export interface HeaderEdit {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  /** Lower case. */
  readonly remove: readonly string[];
}

export interface WeightedBackend {
  readonly cluster: string;
  readonly weight: number;
  /** Why requests chosen for it are answered 500 (`no-backend`) instead, or undefined where it is sound. */
  readonly invalid: string | undefined;
  /** For requests to this backend only. No header is edited by the rule and by a backend, so their order is of no account. */
  readonly requestHeaders: HeaderEdit | undefined;
  /** For responses of this backend only. */
  readonly responseHeaders: HeaderEdit | undefined;
}

/** The Gateway API's `ReplaceFullPath` and `ReplacePrefixMatch`. The query is never touched. */
export type PathRewrite =
  /** An absolute path. */
  | { readonly kind: 'full'; readonly value: string }
  /** In the place of the prefix that matched: empty, or an absolute path. Its rule has one match, a prefix. */
  | { readonly kind: 'prefix'; readonly value: string };

/** Answers in the place of any backend. What is undefined stays as the request has it. */
export interface Redirect {
  readonly scheme: 'http' | 'https' | undefined;
  readonly hostname: string | undefined;
  readonly path: PathRewrite | undefined;
  /** Undefined: the usual one of `scheme`, or else the destination's. */
  readonly port: number | undefined;
  readonly status: RedirectStatus;
}

export type RedirectStatus = 301 | 302 | 303 | 307 | 308;

/** What is sent on differs from what came: `hostname` is the whole of Host. */
export interface UrlRewrite {
  readonly hostname: string | undefined;
  readonly path: PathRewrite | undefined;
}

/** A copy of `numerator` of `denominator` requests goes to another backend, whose answer nobody waits for. */
export interface Mirror {
  readonly cluster: string;
  readonly numerator: number;
  readonly denominator: number;
  /** Why nothing is copied there, or undefined where it is sound. */
  readonly invalid: string | undefined;
}

/** One rule of one route object. */
export interface RouteRule {
  /** `HTTPRoute/shop/catalog#0`, or `#name` where the rule has one: the `heddle.route` tag. */
  readonly id: string;
  /** Any of them. Never empty: a rule without matches is the prefix `/`. */
  readonly matches: readonly RouteMatch[];
  readonly requestHeaders: HeaderEdit | undefined;
  readonly responseHeaders: HeaderEdit | undefined;
  /** Where it is set there are no backends and no `rewrite`. */
  readonly redirect: Redirect | undefined;
  readonly rewrite: UrlRewrite | undefined;
  readonly mirrors: readonly Mirror[];
  readonly backends: readonly WeightedBackend[];
  readonly policy: RequestPolicy;
  /** The route object's age and name, which decide between equal matches. Milliseconds since the Unix epoch. */
  readonly createdAtMs: number;
  /** `namespace/name` of the route object. */
  readonly object: string;
  readonly ruleIndex: number;
}

/** A match with the rule it leads to. A list of them, in order of precedence, is what travels to the sidecar. */
export interface RouteEntry {
  readonly match: RouteMatch;
  readonly rule: RouteRule;
}

/** A Service port as a client sees it. */
export interface Destination {
  /** `catalog.shop.svc.cluster.local:80`. */
  readonly key: string;
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  readonly protocol: AppProtocol;
  /** Other keys for it: cluster IPs with the port. */
  readonly addresses: readonly string[];
  /** In order of precedence; empty where no route is attached, and then `defaultCluster` serves everything. */
  readonly entries: readonly RouteEntry[];
  readonly defaultCluster: string;
  /** What applies where no rule does. */
  readonly policy: RequestPolicy;
}

export type EndpointHealth = 'ready' | 'draining';

export interface Endpoint {
  /** `address:port`, the identity that ejection, load and pools are kept by. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** `namespace/name`, where the endpoint is a known pod. */
  readonly pod: string | undefined;
  readonly node: string | undefined;
  readonly zone: string | undefined;
  readonly weight: number;
  readonly health: EndpointHealth;
  /** Whether the endpoint speaks mesh mTLS on this port. */
  readonly mtls: boolean;
  /** SPIFFE IDs that the endpoint may present; one, as a rule. */
  readonly identities: readonly string[];
}

/** A Service port as a backend. */
export interface Cluster {
  /** `outbound|80||catalog.shop.svc.cluster.local`. */
  readonly name: string;
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  readonly protocol: AppProtocol;
  readonly policy: ClusterPolicy;
  readonly endpoints: readonly Endpoint[];
}

export type MtlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

/** One port of the sidecar's own pod. */
export interface InboundPort {
  readonly port: number;
  readonly protocol: AppProtocol;
  readonly mode: MtlsMode;
}

/** What a sidecar needs to serve its own pod. */
export interface InboundConfig {
  readonly ports: readonly InboundPort[];
  /** For ports that aren't listed. */
  readonly defaultMode: MtlsMode;
  readonly settings: SidecarSettings;
  /** True once the pod is going away: the sidecar drains. */
  readonly draining: boolean;
}

/** The mesh settings that sidecars act on; defaults are those of CONTRACTS. */
export interface SidecarSettings {
  readonly trustDomain: string;
  readonly outboundUnknown: 'ALLOW' | 'DENY';
  readonly tracing: {
    readonly samplingPercent: number;
    readonly keepErrors: boolean;
    readonly keepSlowerThanMs: number;
    /** host:port of an OTLP/gRPC collector; empty: the control plane's store. */
    readonly otlpEndpoint: string;
  };
  readonly detectionTimeoutMs: number;
  readonly drainGraceMs: number;
}

export const DEFAULT_SIDECAR_SETTINGS: SidecarSettings = {
  trustDomain: 'cluster.local',
  outboundUnknown: 'ALLOW',
  tracing: { samplingPercent: 100, keepErrors: true, keepSlowerThanMs: 1_000, otlpEndpoint: '' },
  detectionTimeoutMs: 100,
  drainGraceMs: 30_000,
};

/** Everything a client can decide with at one moment. */
export interface Snapshot {
  /** By key, and by each of the other addresses. */
  destination(key: string): Destination | undefined;
  cluster(name: string): Cluster | undefined;
}
