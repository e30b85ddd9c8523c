import type { Result } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';

export interface ObjectFault {
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly object?: string;
}

/** Kinds that live outside namespaces. Others without a namespace are in `default`, as for kubectl. */
const CLUSTER_SCOPED: ReadonlySet<string> = new Set([
  'Namespace',
  'Node',
  'PersistentVolume',
  'CustomResourceDefinition',
  'ClusterRole',
  'ClusterRoleBinding',
  'StorageClass',
  'PriorityClass',
  'RuntimeClass',
  'IngressClass',
  'GatewayClass',
  'CSIDriver',
  'CSINode',
  'APIService',
  'MutatingWebhookConfiguration',
  'ValidatingWebhookConfiguration',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
]);

export function isClusterScoped(kind: string): boolean {
  return CLUSTER_SCOPED.has(kind);
}

/** RFC 1123 names, as Kubernetes has them ("Object Names and IDs"). */
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const NAME_CHARS_MAX = 253;
const LABEL_CHARS_MAX = 63;
/** RBAC names may hold colons and capitals. */
const FREE_NAMES: ReadonlySet<string> = new Set(['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding']);

/** Kinds whose names become parts of host names: labels of DNS, without dots. */
const LABEL_NAMES: ReadonlySet<string> = new Set(['Service', 'Namespace']);
/** meta/v1, ObjectMeta. */
const METADATA_FIELDS: ReadonlySet<string> = new Set([
  'annotations',
  'creationTimestamp',
  'deletionGracePeriodSeconds',
  'deletionTimestamp',
  'finalizers',
  'generateName',
  'generation',
  'labels',
  'managedFields',
  'name',
  'namespace',
  'ownerReferences',
  'resourceVersion',
  'selfLink',
  'uid',
]);

/** Checks what every Kubernetes object has, and fills in the namespace. */
export function checkObject(value: unknown): Result<KubeObject, ObjectFault> {
  if (!isJsonObject(value))
    return fault([], 'is not a Kubernetes object: a mapping with apiVersion, kind and metadata is expected');
  const { apiVersion, kind, metadata } = value;
  if (typeof apiVersion !== 'string' || apiVersion === '')
    return fault(['apiVersion'], 'apiVersion is missing or not a text');
  if (typeof kind !== 'string' || kind === '') return fault(['kind'], 'kind is missing or not a text');
  if (!isJsonObject(metadata)) return fault(['metadata'], `${kind}: metadata is missing`);
  const name = metadata.name;
  if (typeof name !== 'string' || name === '') {
    return fault(
      ['metadata', 'name'],
      `${kind}: metadata.name is missing or not a text (in YAML, quote names that are numbers)`,
    );
  }
  if (!FREE_NAMES.has(kind) && (name.length > NAME_CHARS_MAX || !SUBDOMAIN.test(name))) {
    return fault(
      ['metadata', 'name'],
      `${kind}: metadata.name "${name}" is not a DNS subdomain (a-z, 0-9, "-", "."; RFC 1123)`,
    );
  }
  if (LABEL_NAMES.has(kind) && (name.length > LABEL_CHARS_MAX || !LABEL.test(name))) {
    const what = `a DNS label (a-z, 0-9, "-", ${LABEL_CHARS_MAX} characters at most; RFC 1123)`;
    return fault(['metadata', 'name'], `${kind}: metadata.name "${name}" is not ${what}`);
  }
  const namespace = isClusterScoped(kind) ? '' : (metadata.namespace ?? 'default');
  const subject = `${kind} ${typeof namespace === 'string' && namespace !== '' ? `${namespace}/` : ''}${name}`;
  if (
    typeof namespace !== 'string' ||
    (namespace !== '' && (namespace.length > LABEL_CHARS_MAX || !LABEL.test(namespace)))
  ) {
    return fault(['metadata', 'namespace'], 'metadata.namespace is not a DNS label', subject);
  }
  const stray = Object.keys(metadata).find((field) => !METADATA_FIELDS.has(field));
  if (stray !== undefined) {
    return fault(['metadata', stray], `metadata.${stray} is not a known field`, subject);
  }
  for (const field of ['labels', 'annotations']) {
    const wrong = notTexts(metadata[field]);
    if (wrong !== undefined) {
      return fault(
        ['metadata', field, ...wrong],
        `metadata.${field} must map texts to texts (quote numbers and booleans)`,
        subject,
      );
    }
  }
  return {
    ok: true,
    value: { ...value, apiVersion, kind, metadata: withNamespace(metadata, name, namespace) },
  };
}

function withNamespace(metadata: JsonObject, name: string, namespace: string): KubeObject['metadata'] {
  const { namespace: _given, ...rest } = metadata;
  return { ...rest, name, ...(namespace === '' ? {} : { namespace }) };
}

/** The path to what isn't a text, or undefined where all is well. */
function notTexts(value: JsonValue | undefined): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isJsonObject(value)) return [];
  const wrong = Object.entries(value).find(([, text]) => typeof text !== 'string');
  return wrong === undefined ? undefined : [wrong[0]];
}

function fault(
  path: readonly (string | number)[],
  message: string,
  object?: string,
): Result<KubeObject, ObjectFault> {
  return { ok: false, error: { path, message, ...(object === undefined ? {} : { object }) } };
}
