import type { FieldPath, Fields } from '../read/fields.ts';

const PARENTS_MAX = 32;
const GATEWAY_GROUP = 'gateway.networking.k8s.io';

export interface ParentRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: number | undefined;
  /** The name of a Service port. */
  readonly sectionName: string | undefined;
  readonly path: FieldPath;
}

/** `Service shop/catalog:80`. */
export function parentText({ kind, namespace, name, port, sectionName }: ParentRef): string {
  const section = sectionName === undefined ? '' : `#${sectionName}`;
  return `${kind} ${namespace}/${name}${port === undefined ? '' : `:${port}`}${section}`;
}

/** `spec.parentRefs`. Those of one object must differ, and all of them name a port, a section, or neither (Gateway API). */
export function readParents(spec: Fields, namespace: string): readonly ParentRef[] {
  const parents: ParentRef[] = [];
  for (const entry of spec.objects('parentRefs', PARENTS_MAX)) {
    const parent = readParent(entry, namespace);
    const others = parents.filter((other) => sameObject(other, parent) && parent.kind !== 'Gateway');
    if (others.some((other) => parentText(other) === parentText(parent))) {
      entry.error([], `names ${parentText(parent)} a second time`);
    } else if (others.some((other) => !sameShape(other, parent))) {
      entry.error([], `names ${parentText(parent)} beside another part of it: name a port in both`);
    }
    parents.push(parent);
  }
  return parents;
}

function readParent(entry: Fields, namespace: string): ParentRef {
  const parent = {
    group: entry.string('group') ?? GATEWAY_GROUP,
    kind: entry.string('kind') || 'Gateway',
    namespace: entry.string('namespace') || namespace,
    name: entry.required('name', 253) ?? '',
    port: entry.integer('port', 1, 65_535),
    sectionName: entry.string('sectionName', 253) || undefined,
    path: entry.path,
  };
  // A group left out is that of the Gateway API, which has no Services: a slip, and never another controller's parent.
  if (parent.kind === 'Service' && parent.group === GATEWAY_GROUP) {
    entry.error(['group'], 'must be written: a Service has group: ""');
  }
  entry.finish();
  return parent;
}

function sameObject(a: ParentRef, b: ParentRef): boolean {
  return a.group === b.group && a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;
}

function sameShape(a: ParentRef, b: ParentRef): boolean {
  return (
    (a.port === undefined) === (b.port === undefined) &&
    (a.sectionName === undefined) === (b.sectionName === undefined)
  );
}
