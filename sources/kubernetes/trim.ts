import { isJsonObject, type JsonObject } from '../../common/json.ts';
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
