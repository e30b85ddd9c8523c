import { at, listAt, numberAt, objectAt, textAt, textsAt } from '../../cli/kube/fields.ts';
import { environmentOf } from '../../cli/local/environment.ts';
import { applyJsonPatch } from '../../cli/local/json-patch.ts';
import { type ContainerSpec, podSpecOf } from '../../cli/local/pod-spec.ts';
import { podField } from '../../cli/local/volumes.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { PatchOperation } from '../../injector/patch/json-patch.ts';
import type { KubeObject } from '../../model/objects.ts';
import { type Bootstrap, readBootstrap } from '../../proxy/bootstrap.ts';

const POD_IPS = ['10.244.1.7', 'fd10:244:1::7'];
const HOOKS = ['postStart', 'preStop'] as const;
const PROBES = { livenessProbe: 'livez', readinessProbe: 'readyz', startupProbe: 'startupz' } as const;

/** The pod as it is after the patch. Throws where the patch doesn't apply. */
export function patched(pod: JsonObject, operations: readonly PatchOperation[]): JsonObject {
  const result = applyJsonPatch(pod, operations as readonly JsonValue[]);
  if (!result.ok) throw result.error;
  if (!isJsonObject(result.value)) throw new Error('the patch leaves no pod');
  return result.value;
}

/** The pod once the API server has stored it and the scheduler has bound it. */
export function stored(pod: JsonObject, namespace: string): KubeObject {
  const metadata = objectAt(pod, 'metadata');
  const name = textAt(metadata, 'name') ?? `${textAt(metadata, 'generateName') ?? ''}x7k2p`;
  return {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name, namespace } },
    spec: {
      serviceAccountName: 'default',
      ...objectAt(pod, 'spec'),
      nodeName: 'node-1',
      initContainers: listAt(pod, 'spec', 'initContainers').map(defaulted),
      containers: listAt(pod, 'spec', 'containers').map(defaulted),
    },
  };
}

/** What the API server fills in, as far as injection could stumble over it in a second pass. */
function defaulted(container: JsonValue): JsonValue {
  if (!isJsonObject(container)) return container;
  const filled: Record<string, JsonValue | undefined> = {
    ...container,
    terminationMessagePath: '/dev/termination-log',
    ports: listAt(container, 'ports').map((port) => ({ protocol: 'TCP', ...objectAt(port) })),
    env: listAt(container, 'env').map((entry) => {
      const path = textAt(entry, 'valueFrom', 'fieldRef', 'fieldPath');
      if (path === undefined) return entry;
      return { ...objectAt(entry), valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: path } } };
    }),
  };
  for (const field of Object.keys(PROBES)) {
    if (!isJsonObject(container[field])) continue;
    const probe = objectAt(container, field);
    const { httpGet, grpc } = probe;
    filled[field] = {
      ...{ timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3, ...probe },
      ...(isJsonObject(httpGet) ? { httpGet: { scheme: 'HTTP', path: '/', ...httpGet } } : {}),
      ...(isJsonObject(grpc) ? { grpc: { service: '', ...grpc } } : {}),
    };
  }
  return filled;
}

/** Reads the sidecar's environment as kubelet and then the sidecar itself would. Throws where the sidecar wouldn't start. */
export function sidecarOf(pod: KubeObject): { readonly spec: ContainerSpec; readonly bootstrap: Bootstrap } {
  const spec = podSpecOf(pod).init.find((container) => container.name === 'heddle-proxy');
  if (spec === undefined) throw new Error('the pod has no sidecar');
  const env = environmentOf({
    ...{ container: spec, machine: {}, network: {}, forced: {}, mounts: new Map() },
    sources: {
      configMap: () => undefined,
      field: (path) => podField(pod, path, { ips: POD_IPS, hostIp: '192.0.2.1' }),
    },
  });
  const bootstrap = readBootstrap(env);
  if (!bootstrap.ok) throw new Error(bootstrap.error.join('; '));
  return { spec, bootstrap: bootstrap.value };
}

/** What is asked of an app in the end, in one form whether the node asks it or the sidecar does. */
export function probesOf(pod: KubeObject, bootstrap?: Bootstrap): ReadonlyMap<string, JsonObject> {
  const found = new Map<string, JsonObject>();
  for (const list of ['initContainers', 'containers']) {
    for (const container of listAt(pod.spec, list)) {
      const name = textAt(container, 'name') ?? '';
      if (name === 'heddle-proxy') continue;
      for (const [field, kind] of Object.entries(PROBES)) {
        const probe = at(container, field);
        if (probe !== undefined) found.set(`${name}/${kind}`, asked(probe, container, bootstrap));
      }
      for (const hook of HOOKS) {
        const httpGet = at(container, 'lifecycle', hook, 'httpGet');
        // Nobody but the sidecar limits how long it may take.
        if (httpGet !== undefined)
          found.set(`${name}/${hook}`, asked({ httpGet, timeoutSeconds: 300 }, container, bootstrap));
      }
    }
  }
  return found;
}

function asked(probe: JsonValue, container: JsonValue, bootstrap: Bootstrap | undefined): JsonObject {
  const timeoutSeconds = numberAt(probe, 'timeoutSeconds') ?? 1;
  const { httpGet, tcpSocket, grpc } = objectAt(probe);
  if (isJsonObject(httpGet) && httpGet.port === 15021 && bootstrap !== undefined) {
    const path = textAt(httpGet, 'path') ?? '';
    const own = bootstrap.appProbes.get(path);
    if (own === undefined) throw new Error(`the sidecar knows no probe ${path}`);
    const { timeoutMs, ...rest } = own;
    return JSON.parse(JSON.stringify({ ...rest, timeoutSeconds: timeoutMs / 1_000 })) as JsonObject;
  }
  const port = portNumber(at(httpGet ?? tcpSocket ?? grpc, 'port'), container);
  if (isJsonObject(httpGet)) {
    const host = textAt(httpGet, 'host');
    const headers = listAt(httpGet, 'httpHeaders').map((one) => [textAt(one, 'name'), textAt(one, 'value')]);
    return JSON.parse(
      JSON.stringify({
        ...{
          kind: 'http',
          timeoutSeconds,
          port,
          path: targetOf(textAt(httpGet, 'path') ?? '/'),
          headers,
          host,
        },
        tls: textAt(httpGet, 'scheme') === 'HTTPS',
      }),
    ) as JsonObject;
  }
  if (isJsonObject(tcpSocket))
    return JSON.parse(
      JSON.stringify({ kind: 'tcp', timeoutSeconds, port, host: textAt(tcpSocket, 'host') }),
    ) as JsonObject;
  if (isJsonObject(grpc))
    return { kind: 'grpc', timeoutSeconds, port, service: textAt(grpc, 'service') ?? '' };
  return { kind: 'exec', ...objectAt(probe, 'exec') };
}

/** What stands in the request that kubelet makes of a path. */
function targetOf(path: string): string {
  const { pathname, search } = new URL(path.startsWith('/') ? path : `/${path}`, 'http://app');
  return `${pathname}${search}`;
}

function portNumber(port: JsonValue | undefined, container: JsonValue): JsonValue {
  if (typeof port === 'number') return port;
  const named = listAt(container, 'ports').find((one) => textAt(one, 'name') === port);
  return numberAt(named, 'containerPort') ?? `named ${String(port)}`;
}

/** A container without what the injector may change: the handlers of its probes and hooks. */
export function withoutProbes(container: JsonValue): JsonValue {
  if (!isJsonObject(container)) return container;
  const rest: Record<string, JsonValue | undefined> = { ...container };
  for (const field of Object.keys(PROBES)) {
    if (!isJsonObject(rest[field])) continue;
    const { httpGet: _http, tcpSocket: _tcp, grpc: _grpc, ...timing } = objectAt(rest, field);
    rest[field] = timing;
  }
  if (isJsonObject(rest.lifecycle)) rest.lifecycle = withoutHandlers(rest.lifecycle);
  return rest;
}

function withoutHandlers(lifecycle: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(lifecycle).map(([hook, handler]) => {
      if (!isJsonObject(handler)) return [hook, handler];
      const { httpGet: _http, ...rest } = handler;
      return [hook, rest];
    }),
  );
}

/** A container that had no `preStop` of its own, without the delay that it got. */
export function withoutDelay(container: JsonValue): JsonValue {
  if (!isJsonObject(container) || !isJsonObject(container.lifecycle)) return container;
  const { preStop, ...hooks } = container.lifecycle;
  if (!isJsonObject(preStop) || preStop.sleep === undefined) return container;
  const { lifecycle: _lifecycle, ...rest } = container;
  return Object.keys(hooks).length === 0 ? rest : { ...rest, lifecycle: hooks };
}

/** Why a pod is outside of the restricted Pod Security level (Kubernetes, "Pod Security Standards"), as far as sidecars matter. */
export function restrictedFaults(pod: KubeObject): string[] {
  const spec = objectAt(pod, 'spec');
  const faults: string[] = [];
  const allowedVolumes = [
    'name',
    'configMap',
    'emptyDir',
    'projected',
    'persistentVolumeClaim',
    'secret',
    'downwardAPI',
  ];
  for (const volume of listAt(spec, 'volumes'))
    if (!Object.keys(objectAt(volume)).every((key) => allowedVolumes.includes(key)))
      faults.push(`volume ${textAt(volume, 'name') ?? ''}`);
  for (const container of [...listAt(spec, 'initContainers'), ...listAt(spec, 'containers')]) {
    const own = (key: string) => at(container, 'securityContext', key) ?? at(spec, 'securityContext', key);
    const name = textAt(container, 'name') ?? '';
    const security = at(container, 'securityContext');
    if (at(security, 'allowPrivilegeEscalation') !== false) faults.push(`${name}: allowPrivilegeEscalation`);
    if (!listAt(security, 'capabilities', 'drop').includes('ALL')) faults.push(`${name}: capabilities`);
    if (listAt(security, 'capabilities', 'add').length > 0) faults.push(`${name}: capabilities.add`);
    if (own('runAsNonRoot') !== true) faults.push(`${name}: runAsNonRoot`);
    if (own('runAsUser') === 0) faults.push(`${name}: runAsUser`);
    if (at(own('seccompProfile'), 'type') !== 'RuntimeDefault') faults.push(`${name}: seccompProfile`);
    if (listAt(container, 'ports').some((port) => numberAt(port, 'hostPort') !== undefined))
      faults.push(`${name}: hostPort`);
  }
  return faults;
}

/** Where Prometheus finds the pod's metrics, by the usual annotations: port and path, as text. */
export function scraped(pod: KubeObject): string | undefined {
  const annotations = textsAt(pod, 'metadata', 'annotations');
  if (annotations['prometheus.io/scrape'] !== 'true') return undefined;
  const declared = listAt(pod.spec, 'containers')
    .flatMap((container) => listAt(container, 'ports'))
    .find((port) => (textAt(port, 'protocol') ?? 'TCP') === 'TCP');
  const port = annotations['prometheus.io/port'] ?? String(numberAt(declared, 'containerPort') ?? '');
  const path = annotations['prometheus.io/path'] ?? '/metrics';
  return `${port}${path.startsWith('/') ? '' : '/'}${path}`;
}
