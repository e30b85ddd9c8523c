import { PORTS, SIDECAR, TOKEN_AUDIENCE, TRUST_BUNDLE_CONFIG_MAP } from '../../common/contracts.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { objectsOf, textOf } from '../../model/read/meta.ts';
import type { SidecarSettings } from './annotations.ts';

/** How the app's connections reach the sidecar: by the pod network, or by the app's own `http_proxy`. */
type Capture = 'transparent' | 'http-proxy';

export const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'] as const;
type PullPolicy = (typeof PULL_POLICIES)[number];
export const DEFAULT_SIDECAR_IMAGE = 'heddle-proxy';

/** What every sidecar of a mesh has in common. */
export interface SidecarOptions {
  readonly image: string;
  /** Undefined: what Kubernetes takes for the image's tag. */
  readonly imagePullPolicy: PullPolicy | undefined;
  /** Names of Secrets in the pods' own namespaces, without which their nodes can't pull the image. */
  readonly imagePullSecrets: readonly string[];
  /** host:port, as pods reach it. */
  readonly controlPlane: string;
  readonly trustDomain: string;
  readonly capture: Capture;
}

export const IDENTITY_VOLUME = 'heddle-identity';
const IDENTITY_PATH = '/var/run/heddle';
const TOKEN_FILE = 'token';
const ROOT_FILE = 'root.pem';
/** kubelet renews it at 80 %. */
const tokenSeconds = 3_600;
/** A control plane that is away for less than ten minutes restarts no sidecar. */
const STARTUP = { periodSeconds: 1, failureThreshold: 600 } as const;

export const APP_PROBES_VARIABLE = 'HEDDLE_APP_PROBES';
export const APP_PROMETHEUS_VARIABLE = 'HEDDLE_APP_PROMETHEUS';
export const SERVICE_NAME_VARIABLE = 'HEDDLE_SERVICE_NAME';

const FIELDS = {
  HEDDLE_POD_NAME: 'metadata.name',
  HEDDLE_POD_NAMESPACE: 'metadata.namespace',
  HEDDLE_POD_IP: 'status.podIP',
  HEDDLE_POD_IPS: 'status.podIPs',
  HEDDLE_NODE_NAME: 'spec.nodeName',
  HEDDLE_SERVICE_ACCOUNT: 'spec.serviceAccountName',
} as const;

/**
 * The sidecar as an init container that stays, within the restricted Pod Security level. `app` are the variables that
 * tell it of the app: its workload's name, probes and metrics.
 */
export function sidecarContainer(
  options: SidecarOptions,
  settings: SidecarSettings,
  app: ReadonlyMap<string, string>,
): JsonObject {
  const values = new Map<string, string>([
    ['HEDDLE_CONTROL_PLANE', options.controlPlane],
    ['HEDDLE_TRUST_DOMAIN', options.trustDomain],
    ['HEDDLE_CAPTURE', options.capture],
    ['HEDDLE_TOKEN_FILE', `${IDENTITY_PATH}/${TOKEN_FILE}`],
    ['HEDDLE_ROOT_FILE', `${IDENTITY_PATH}/${ROOT_FILE}`],
  ]);
  if (settings.logLevel !== undefined) values.set('HEDDLE_LOG_LEVEL', settings.logLevel);
  if (settings.traceSampling !== undefined) values.set('HEDDLE_TRACE_SAMPLING', settings.traceSampling);
  return {
    name: SIDECAR.container,
    image: options.image,
    ...(options.imagePullPolicy === undefined ? {} : { imagePullPolicy: options.imagePullPolicy }),
    restartPolicy: 'Always',
    env: [
      ...Object.entries(FIELDS).map(([name, fieldPath]) => ({
        name,
        valueFrom: { fieldRef: { fieldPath } },
      })),
      ...[...values, ...app].map(([name, value]) => ({ name, value: unexpanded(value) })),
    ],
    ports: [
      { name: 'heddle-metrics', containerPort: PORTS.proxyMetrics, protocol: 'TCP' },
      { name: 'heddle-health', containerPort: PORTS.proxyHealth, protocol: 'TCP' },
    ],
    resources: settings.resources,
    securityContext: {
      runAsUser: SIDECAR.uid,
      runAsGroup: SIDECAR.gid,
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    startupProbe: { httpGet: { path: '/healthz/ready', port: PORTS.proxyHealth }, ...STARTUP },
    volumeMounts: [{ name: IDENTITY_VOLUME, mountPath: IDENTITY_PATH, readOnly: true }],
  };
}

/** Whether a text can be an image's name at all; what it names is the container runtime's matter. */
export function isImage(text: string): boolean {
  return /^\S{1,512}$/.test(text);
}

const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s/]+):([1-9]\d{0,4})$/;
const portMax = 65_535;

/** `host:port`, an IPv6 address in brackets. */
export function isHostPort(text: string): boolean {
  return Number(HOST_PORT.exec(text)?.[2] ?? portMax + 1) <= portMax;
}

export function isTrustDomain(text: string): boolean {
  return /^[a-z0-9._-]{1,255}$/.test(text);
}

/** A DNS subdomain (RFC 1123). */
export function isSecretName(text: string): boolean {
  return /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(text);
}

export function isPullPolicy(text: string): text is PullPolicy {
  return PULL_POLICIES.some((one) => one === text);
}

/** The service-account token for the CA and the roots to check it by. */
export function identityVolume(): JsonObject {
  const token = { path: TOKEN_FILE, audience: TOKEN_AUDIENCE, expirationSeconds: tokenSeconds };
  const roots = { name: TRUST_BUNDLE_CONFIG_MAP, items: [{ key: ROOT_FILE, path: ROOT_FILE }] };
  return {
    name: IDENTITY_VOLUME,
    projected: { sources: [{ serviceAccountToken: token }, { configMap: roots }] },
  };
}

/** A variable of a sidecar that stands in a pod already, or undefined. */
export function variableOf(sidecar: JsonObject, name: string): string | undefined {
  const value = objectsOf(sidecar.env).find((entry) => entry.name === name)?.value;
  return typeof value === 'string' ? value.replaceAll('$$', '$') : undefined;
}

/** The same sidecar with other values for some variables; everything else stays as it is, defaults of others included. */
export function withVariables(sidecar: JsonObject, variables: ReadonlyMap<string, string>): JsonObject {
  const others = (Array.isArray(sidecar.env) ? sidecar.env : []).filter(
    (entry: JsonValue) => !(isJsonObject(entry) && variables.has(textOf(entry.name) ?? '')),
  );
  const changed = [...variables].map(([name, value]) => ({ name, value: unexpanded(value) }));
  return { ...sidecar, env: [...others, ...changed] };
}

/** kubelet takes `$(NAME)` in a value for another variable, and `$$` for a dollar sign. */
function unexpanded(value: string): string {
  return value.replaceAll('$', '$$$$');
}
