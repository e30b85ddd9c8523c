import { LABELS, SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import type { JsonObject } from '../../common/json.ts';

type Labels = Readonly<Record<string, string>>;

/** The revision that takes the pods of those who name none. */
export const DEFAULT_REVISION = 'default';
const REVISION = /^[a-z0-9]([-a-z0-9]{0,39}[a-z0-9])?$/;
/** What a revision must be, for messages. */
export const REVISION_FORM = 'a name of at most 41 lower-case letters, digits and dashes';
/** Namespaces that must run without the mesh, because the mesh doesn't run without them. */
export const NEVER_INJECTED: readonly string[] = ['kube-system', SYSTEM_NAMESPACE];
/** The API server's own label with a namespace's name. */
const NAME_LABEL = 'kubernetes.io/metadata.name';
/** Of one review; the API server then refuses the pod. */
const timeoutSeconds = 10;

/** One entry of a MutatingWebhookConfiguration, as far as Heddle's differ from each other. */
interface Webhook extends JsonObject {
  readonly name: string;
  readonly namespaceSelector: JsonObject;
  readonly objectSelector: JsonObject;
}

/** What labels say of a pod. Nodes' own networks and the like are the pod's matter: `reasonToSkip`. */
export interface Selection {
  readonly selected: boolean;
  /** Which injector is asked; only that one acts. */
  readonly revision: string;
  readonly reason: string;
}

/**
 * Whether a pod gets a sidecar, by which revision, and why: a pod's labels win over its namespace's. The selectors of
 * `webhooksOf` say the same to an API server.
 */
export function selectionOf(namespace: string, namespaceLabels: Labels, podLabels: Labels): Selection {
  const revision = podLabels[LABELS.revision] ?? revisionOf(namespaceLabels);
  const say = (selected: boolean, reason: string): Selection => ({ selected, revision, reason });
  const own = podLabels[LABELS.inject];
  const general = namespaceLabels[LABELS.inject];
  if (NEVER_INJECTED.includes(namespace)) return say(false, `pods of ${namespace} are never injected`);
  if (own === 'disabled') return say(false, `its label ${LABELS.inject} says disabled`);
  if (own === 'enabled') return say(true, `its label ${LABELS.inject} says enabled`);
  if (general === 'disabled')
    return say(false, `the label ${LABELS.inject} of namespace ${namespace} says disabled`);
  if (podLabels[LABELS.revision] !== undefined)
    return say(true, `its label ${LABELS.revision} names ${revision}`);
  if (general === 'enabled')
    return say(true, `the label ${LABELS.inject} of namespace ${namespace} says enabled`);
  if (namespaceLabels[LABELS.revision] !== undefined)
    return say(true, `the label ${LABELS.revision} of namespace ${namespace} names ${revision}`);
  return say(
    false,
    general === undefined
      ? `namespace ${namespace} has neither the label ${LABELS.inject}=enabled nor ${LABELS.revision}`
      : `the label ${LABELS.inject} of namespace ${namespace} must be enabled or disabled, not "${general}"`,
  );
}

/** Of a namespace's pods that name none: `inject=enabled` is the default revision's own label, so that it wins. */
function revisionOf(namespaceLabels: Labels): string {
  if (namespaceLabels[LABELS.inject] === 'enabled') return DEFAULT_REVISION;
  return namespaceLabels[LABELS.revision] ?? DEFAULT_REVISION;
}

const is = (key: string, value: string) => ({ key, operator: 'In', values: [value] });
const isNot = (key: string, ...values: readonly string[]) => ({ key, operator: 'NotIn', values });
const hasNo = (key: string) => ({ key, operator: 'DoesNotExist' });
const { inject, revision: rev } = LABELS;

/** The entries of a revision's MutatingWebhookConfiguration. No pod is selected by two of them, nor by two revisions'. */
export function webhooksOf(revision: string): readonly Webhook[] {
  const named = [
    webhook(
      'namespace-revision',
      [is(rev, revision), isNot(inject, 'enabled', 'disabled')],
      [hasNo(rev), isNot(inject, 'disabled')],
    ),
    webhook('pod-revision', [isNot(inject, 'disabled')], [is(rev, revision), isNot(inject, 'disabled')]),
    webhook(
      'namespace-revision-asked',
      [is(rev, revision), is(inject, 'disabled')],
      [hasNo(rev), is(inject, 'enabled')],
    ),
    webhook('pod-revision-asked', [is(inject, 'disabled')], [is(rev, revision), is(inject, 'enabled')]),
  ];
  if (revision !== DEFAULT_REVISION) return named;
  return [
    webhook('namespace', [is(inject, 'enabled')], [hasNo(rev), isNot(inject, 'disabled')]),
    webhook('pod', [hasNo(rev), isNot(inject, 'enabled')], [hasNo(rev), is(inject, 'enabled')]),
    ...named,
  ];
}

function webhook(name: string, namespaces: readonly JsonObject[], pods: readonly JsonObject[]): Webhook {
  return {
    name: `${name}.inject.heddle.dev`,
    namespaceSelector: { matchExpressions: [isNot(NAME_LABEL, ...NEVER_INJECTED), ...namespaces] },
    objectSelector: { matchExpressions: pods },
  };
}

/** Whether a revision can be had: its objects' names is a DNS label of 63 characters at most, and so is a label's value. */
export function isRevision(text: string): boolean {
  return REVISION.test(text);
}

/** The name of a revision's Service, ServiceAccount, Deployment and MutatingWebhookConfiguration. */
export function injectorName(revision: string): string {
  return revision === DEFAULT_REVISION ? 'heddle-injector' : `heddle-injector-${revision}`;
}

/**
 * The whole MutatingWebhookConfiguration of a revision (admissionregistration.k8s.io/v1). Pods on their node's own network
 * can't be injected, so that the API server creates them also while no injector answers.
 */
export function webhookConfiguration(revision: string, clientConfig: JsonObject): JsonObject {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: injectorName(revision) },
    webhooks: webhooksOf(revision).map(({ name, namespaceSelector, objectSelector }) => ({
      name,
      clientConfig,
      namespaceSelector,
      objectSelector,
      matchConditions: [
        {
          name: 'own-network',
          expression: '!has(object.spec.hostNetwork) || !object.spec.hostNetwork',
        },
      ],
      rules: [
        {
          operations: ['CREATE'],
          apiGroups: [''],
          apiVersions: ['v1'],
          resources: ['pods'],
          scope: 'Namespaced',
        },
      ],
      failurePolicy: 'Fail',
      reinvocationPolicy: 'IfNeeded',
      sideEffects: 'None',
      timeoutSeconds,
      admissionReviewVersions: ['v1'],
    })),
  };
}
