import type { JsonObject } from '../../common/json.ts';

/** Gateway API, ObjectName. */
const NAME_CHARACTERS_MAX = 253;
const GATEWAY_GROUP = 'gateway.networking.k8s.io';

/** `Service shop/catalog:80`, `HTTPRoute shop/catalog#canary`, `Namespace shop`, … as a reference. */
export function referenceOf(ref: string): JsonObject {
  const [kind = '', target = '', rest] = ref.split(' ');
  const match = /^(?:([^/]*)\/)?([^:#]*)(?::(\d+))?(?:#(.*))?$/.exec(target);
  const [, namespace, name = target, port, sectionName] = match ?? [];
  // Policies that select pods have no single target: their labels stand for one. The mesh is the only one of its kind.
  const shown = rest === undefined ? name || kind.toLowerCase() : `${name} ${rest}`;
  return {
    group: kind.endsWith('Route') ? GATEWAY_GROUP : '',
    kind,
    ...(namespace === undefined ? {} : { namespace }),
    name: shown.slice(0, NAME_CHARACTERS_MAX),
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(sectionName === undefined ? {} : { sectionName }),
  };
}
