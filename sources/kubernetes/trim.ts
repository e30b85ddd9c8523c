import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';

/** kubectl's copy of what it last applied: as long as the object itself. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/**
 * An object without what no reader asks for: who set which field, kubectl's copy, and the resource version, which grows
 * with changes that nobody sees and would be old whenever somebody used it.
 */
export function trimObject(object: KubeObject): KubeObject {
  const { managedFields: _who, resourceVersion: _version, selfLink: _link, ...metadata } = object.metadata;
  if (metadata.annotations?.[LAST_APPLIED] === undefined) return { ...object, metadata };
  const { [LAST_APPLIED]: _copy, ...annotations } = metadata.annotations;
  return { ...object, metadata: { ...metadata, annotations } };
}

/** A Node without its images and the times of its heartbeats, every few minutes another one. */
export function trimNode(node: KubeObject): KubeObject {
  if (!isJsonObject(node.status)) return node;
  const {
    images: _images,
    volumesAttached: _attached,
    volumesInUse: _inUse,
    conditions,
    ...status
  } = node.status;
  if (!Array.isArray(conditions)) return { ...node, status };
  const lasting = conditions.map((one: unknown) => (isJsonObject(one) ? withoutHeartbeat(one) : null));
  return { ...node, status: { ...status, conditions: lasting } };
}

function withoutHeartbeat({ lastHeartbeatTime: _time, ...condition }: JsonObject): JsonObject {
  return condition;
}

const SPEC_KEPT = ['nodeName', 'hostNetwork', 'serviceAccountName', 'hostname', 'subdomain'];
const CONTAINER_KEPT = ['name', 'image', 'restartPolicy', 'ports'];
const STATUS_KEPT = ['phase', 'reason', 'hostIP', 'podIP', 'podIPs', 'startTime'];
const CONTAINER_STATUS_KEPT = ['name', 'containerID', 'ready', 'restartCount'];
const CONDITION_KEPT = ['type', 'status', 'reason'];

/** A Pod with what the mesh and the pod network ask of one: without environment, volumes, probes and the like. */
export function trimPod(pod: KubeObject): KubeObject {
  const spec = isJsonObject(pod.spec) ? pod.spec : {};
  const status = isJsonObject(pod.status) ? pod.status : {};
  const { apiVersion, kind, metadata } = pod;
  return {
    ...{ apiVersion, kind, metadata },
    spec: {
      ...pick(spec, SPEC_KEPT),
      ...pickEach(spec, 'initContainers', CONTAINER_KEPT),
      ...pickEach(spec, 'containers', CONTAINER_KEPT),
    },
    status: {
      ...pick(status, STATUS_KEPT),
      ...pickEach(status, 'conditions', CONDITION_KEPT),
      ...pickEach(status, 'initContainerStatuses', CONTAINER_STATUS_KEPT),
      ...pickEach(status, 'containerStatuses', CONTAINER_STATUS_KEPT),
    },
  };
}

/** The fields of these names, as far as they are there. */
export function pick(from: JsonObject, names: readonly string[]): JsonObject {
  const kept: Record<string, JsonValue> = {};
  for (const name of names) {
    const value = from[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

function pickEach(from: JsonObject, name: string, names: readonly string[]): JsonObject {
  const list = from[name];
  if (!Array.isArray(list)) return {};
  return { [name]: list.map((one: unknown) => (isJsonObject(one) ? pick(one, names) : null)) };
}
