import type { JsonObject, JsonValue } from '../common/json.ts';
import type { Mesh, ObjectStatus } from '../model/mesh.ts';
import type { KubeObject, Problem, SourcedObject } from '../model/objects.ts';

/** The last configuration that a proxy refused. It goes on with the one before. */
export interface ProxyNack {
  /** The xDS type in short: `Listener`, `RouteConfiguration`, `Cluster`, `ClusterLoadAssignment`, `Secret`. */
  readonly type: string;
  /** The resource, where the proxy named one. */
  readonly resource: string | undefined;
  /** What the proxy said: object, field and reason. */
  readonly message: string;
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
}

/** One connected proxy. A proxy that goes away leaves the list. */
export interface ProxyInfo {
  /** `sidecar~<pod-ip>~<pod>.<ns>~<ns>.svc.cluster.local`. */
  readonly nodeId: string;
  /** `namespace/name`. */
  readonly pod: string;
  /** The SPIFFE ID of its client certificate. */
  readonly identity: string;
  readonly protocol: 'delta' | 'state-of-the-world';
  /** Milliseconds since the Unix epoch. */
  readonly connectedAtMs: number;
  /** By xDS type in short; how many resources it watches. */
  readonly subscriptions: Readonly<Record<string, number>>;
  /** By xDS type in short; how many of those sent it has not acknowledged yet. 0 everywhere: in step. */
  readonly pending: Readonly<Record<string, number>>;
  /** When it last acknowledged something. Milliseconds since the Unix epoch. */
  readonly lastAckAtMs: number | undefined;
  /** Undefined once it has taken a later version of the refused resource. */
  readonly lastNack: ProxyNack | undefined;
}

/** A sidecar's live state as its read-only admin's `/breakers` tells it, unchanged. */
export type DecisionStateDump = JsonValue;

/** What the dashboard, the metrics page and the CLI's API read of the control plane. Reading changes nothing. */
export interface ControlPlaneView {
  /** The mesh in force: the last one built. */
  mesh(): Mesh;
  /** Every object in force, as its source has it. */
  objects(): readonly SourcedObject[];
  /** `status` of a route or policy as Kubernetes shows it; undefined where the mesh says nothing of the object. */
  statusOf(object: KubeObject): JsonObject | undefined;
  /** `Accepted` and `ResolvedRefs` from the mesh, `Programmed` from the proxies' acknowledgements. */
  statuses(): readonly ObjectStatus[];
  /** What is wrong with files and objects. */
  problems(): readonly Problem[];
  proxies(): readonly ProxyInfo[];
  /** Runs after the mesh, a status or the list of proxies changed. Returns the function that stops it. */
  onChange(listener: () => void): () => void;
  /** Live state of a pod's sidecar (`namespace/name`), fetched over mTLS; undefined where it can't be reached. */
  proxyState(pod: string): Promise<DecisionStateDump | undefined>;
}
