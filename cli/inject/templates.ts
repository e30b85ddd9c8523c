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
}

/** Where each kind has the pod that it makes. */
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  ReplicationController: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
  PodTemplate: ['template'],
};

/** The pods of an object, or of the objects of a list, in order. */
export function podTemplates(value: JsonValue, path: Path = []): readonly PodTemplate[] {
  if (!isJsonObject(value)) return [];
  const kind = textAt(value, 'kind') ?? '';
  if (kind === 'List' || (kind.endsWith('List') && Array.isArray(value.items))) {
    // Items of a typed list need not say again what they are.
    const typed = kind === 'List' ? {} : { kind: kind.slice(0, -'List'.length) };
    return listAt(value, 'items').flatMap((item, index) =>
      podTemplates(isJsonObject(item) ? { ...typed, ...item } : item, [...path, 'items', index]),
    );
  }
  const within = TEMPLATES[kind];
  if (within === undefined) return [];
  const template = objectAt(value, ...within);
  const own = textAt(value, 'metadata', 'name');
  const generated = textAt(value, 'metadata', 'generateName');
  return [
    {
      kind,
      name: own ?? (generated === undefined ? '(no name)' : `${generated}*`),
      workload: kind === 'Pod' || kind === 'PodTemplate' ? undefined : own,
      namespace: textAt(value, 'metadata', 'namespace'),
      pod: {
        ...{ apiVersion: 'v1', kind: 'Pod' },
        metadata: objectAt(template, 'metadata'),
        ...(template.spec === undefined ? {} : { spec: template.spec }),
      },
      path: [...path, ...within],
    },
  ];
}
