import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { listAt, objectAt, textAt } from '../kube/fields.ts';

type Path = readonly (string | number)[];

/** A pod that an object is, or that it would have made. */
export interface PodTemplate {
  /** The kind of the object: `Deployment`. */
  readonly kind: string;
  /** Its name, or the prefix of it with a star. */
  readonly name: string;
  /** What traces call its pods; undefined where they go by their own names. */
  readonly workload: string | undefined;
  /** Undefined where the object names none. */
  readonly namespace: string | undefined;
  readonly pod: JsonObject;
  /** Where it stands in the document. */
  readonly path: Path;
  /** Whether Kubernetes itself makes pods of it: what others make of their kinds, and where, only they know. */
  readonly known: boolean;
}

interface Kind {
  /** API groups that have it. */
  readonly groups: readonly string[];
  /** Where it has the pod that it makes. */
  readonly path: readonly string[];
}

const template = (...groups: readonly string[]): Kind => ({ groups, path: ['spec', 'template'] });
const KINDS: Readonly<Record<string, Kind>> = {
  Pod: { groups: [''], path: [] },
  Deployment: template('apps', 'extensions'),
  StatefulSet: template('apps'),
  DaemonSet: template('apps', 'extensions'),
  ReplicaSet: template('apps', 'extensions'),
  ReplicationController: template(''),
  Job: template('batch'),
  CronJob: { groups: ['batch'], path: ['spec', 'jobTemplate', 'spec', 'template'] },
  PodTemplate: { groups: [''], path: ['template'] },
};

interface Placed {
  readonly object: JsonObject;
  readonly path: Path;
}

/** The pods that the objects of a document are or would make, in order. */
export function podTemplates(document: JsonValue): readonly PodTemplate[] {
  return objectsIn(document).flatMap(({ object, path }) => templateOf(object, path));
}

/** The object of a document, or those of its list. */
export function objectsIn(value: JsonValue, path: Path = []): readonly Placed[] {
  if (!isJsonObject(value)) return [];
  const kind = textAt(value, 'kind') ?? '';
  if (kind === 'List' || (kind.endsWith('List') && Array.isArray(value.items))) {
    // Items of a typed list need not say again what they are.
    const typed = kind === 'List' ? {} : { kind: kind.slice(0, -'List'.length) };
    return listAt(value, 'items').flatMap((item, index) =>
      objectsIn(isJsonObject(item) ? { ...typed, ...item } : item, [...path, 'items', index]),
    );
  }
  return [{ object: value, path }];
}

function templateOf(object: JsonObject, path: Path): readonly PodTemplate[] {
  const kind = textAt(object, 'kind') ?? '';
  const own = kindOf(kind, textAt(object, 'apiVersion'));
  const within = own?.path ?? ['spec', 'template'];
  const template = objectAt(object, ...within);
  if (own === undefined && listAt(template, 'spec', 'containers').length === 0) return [];
  const name = textAt(object, 'metadata', 'name');
  const generated = textAt(object, 'metadata', 'generateName');
  return [
    {
      kind,
      name: name ?? (generated === undefined ? '(no name)' : `${generated}*`),
      workload: kind === 'Pod' || kind === 'PodTemplate' ? undefined : name,
      namespace: textAt(object, 'metadata', 'namespace'),
      pod: {
        ...{ apiVersion: 'v1', kind: 'Pod' },
        metadata: objectAt(template, 'metadata'),
        ...(template.spec === undefined ? {} : { spec: template.spec }),
      },
      path: [...path, ...within],
      known: own !== undefined,
    },
  ];
}

/** Without `apiVersion`, as items of lists may be, a kind's name has to do. */
function kindOf(kind: string, apiVersion: string | undefined): Kind | undefined {
  const known = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (apiVersion === undefined) return known;
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  return known?.groups.includes(group) === true ? known : undefined;
}
