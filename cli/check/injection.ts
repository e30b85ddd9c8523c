import { ANNOTATIONS, LABELS, SIDECAR, SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import type { JsonValue } from '../../common/json.ts';
import { injectPod } from '../../injector/patch/inject.ts';
import type { SidecarOptions } from '../../injector/patch/sidecar.ts';
import { injectorName, type Selection, selectionOf } from '../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../model/objects.ts';
import { podTemplates } from '../inject/templates.ts';
import { at, listAt, textAt, textsAt } from '../kube/fields.ts';
import type { Finding } from './findings.ts';

/** `injected`: it has its sidecar. `injects`: its new pods get one. `none`: as asked. The others need a hand. */
export type InjectionState = 'injected' | 'injects' | 'none' | 'missing' | 'outdated' | 'refused';

/** What is so of a pod, or of the pods that a workload makes. */
export interface InjectionRow {
  readonly kind: string;
  readonly name: string;
  readonly state: InjectionState;
  readonly reason: string;
  readonly remedy?: string;
}

/** What the API server has of Heddle's webhooks; undefined where there are none to look at, as in a local mesh. */
export interface WebhookFacts {
  /** Undefined where we may not read them. */
  readonly configurations: readonly KubeObject[] | undefined;
  /** Ready injectors of a revision; undefined where we may not know. */
  readyInjectors(revision: string): number | undefined;
}

export interface InjectionFacts {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pods: readonly KubeObject[];
  /** With a pod template, and not made by another workload. */
  readonly workloads: readonly KubeObject[];
  readonly webhooks: WebhookFacts | undefined;
}

/** The command that makes a workload's pods anew. */
const RESTARTED: readonly string[] = ['Deployment', 'StatefulSet', 'DaemonSet'];
/** Phases of a pod that runs no more. */
const ENDED: readonly string[] = ['Succeeded', 'Failed'];
/** Any: what a pod is refused or left for doesn't depend on it. */
const SIDECAR_OPTIONS: SidecarOptions = {
  ...{ image: SIDECAR.container, imagePullPolicy: undefined, imagePullSecrets: [], capture: 'transparent' },
  ...{ controlPlane: `heddle-control-plane.${SYSTEM_NAMESPACE}:1`, trustDomain: 'cluster.local' },
};

/** Each workload and pod of a namespace, with why it has a sidecar or has none. */
export function injectionRows(facts: InjectionFacts): readonly InjectionRow[] {
  return [
    ...facts.workloads.flatMap((workload) => workloadRow(workload, facts)),
    ...facts.pods
      .filter((pod) => pod.metadata.deletionTimestamp === undefined)
      .map((pod) => podRow(pod, facts)),
  ];
}

function workloadRow(workload: KubeObject, { namespace, labels }: InjectionFacts): readonly InjectionRow[] {
  return podTemplates(workload).map(({ kind, name, pod }): InjectionRow => {
    const own = injectedBy(pod);
    if (own !== undefined) return { kind, name, state: 'injected', reason: byManifest(own) };
    const selection = selectionOf(namespace, labels, textsAt(pod, 'metadata', 'labels'));
    return { kind, name, ...judged(pod, namespace, selection) };
  });
}

/** What the webhook would do with a pod that is made now. */
function judged(
  pod: JsonValue,
  namespace: string,
  selection: Selection,
): Pick<InjectionRow, 'state' | 'reason' | 'remedy'> {
  if (!selection.selected) return { state: 'none', reason: selection.reason };
  const { revision } = selection;
  const injection = injectPod(pod, { ...SIDECAR_OPTIONS, namespace, revision });
  switch (injection.kind) {
    case 'patch':
      return { state: 'injects', reason: `by revision ${revision}, as ${selection.reason}` };
    case 'skip':
      return { state: 'none', reason: injection.reason };
    case 'refuse':
      return { state: 'refused', reason: injection.message, remedy: 'change its manifest' };
    default:
      return injection satisfies never;
  }
}

function podRow(pod: KubeObject, facts: InjectionFacts): InjectionRow {
  const { name, labels = {} } = pod.metadata;
  const selection = selectionOf(facts.namespace, facts.labels, labels);
  const row = (state: InjectionState, reason: string, remedy?: string): InjectionRow => ({
    ...{ kind: 'Pod', name, state, reason },
    ...(remedy === undefined ? {} : { remedy }),
  });
  // A Job's, say: it calls nobody any more.
  if (ENDED.includes(textAt(pod, 'status', 'phase') ?? '')) return row('none', 'it has ended');
  const revision = injectedBy(pod);
  if (revision !== undefined) {
    const maker = makerOf(pod, facts);
    const own = maker === undefined ? [] : podTemplates(maker).map((template) => injectedBy(template.pod));
    if (own.includes(revision)) return row('injected', byManifest(revision));
    if (!selection.selected)
      return row('outdated', `has a sidecar still, but ${selection.reason}`, anew(pod, facts));
    if (selection.revision !== revision)
      return row(
        'outdated',
        `has the sidecar of revision ${revision}; revision ${selection.revision} takes it now`,
        anew(pod, facts),
      );
    return row('injected', `by revision ${revision}`);
  }
  const { state, reason, remedy } = judged(pod, facts.namespace, selection);
  if (state !== 'injects') return row(state, reason, remedy);
  return row(
    'missing',
    `${selection.reason}, but it was created before that, or while no webhook was there`,
    anew(pod, facts),
  );
}

/** The revision whose sidecar a pod or template has, or undefined. */
function injectedBy(pod: JsonValue): string | undefined {
  const has = listAt(pod, 'spec', 'initContainers').some((one) => textAt(one, 'name') === SIDECAR.container);
  return has ? textAt(pod, 'metadata', 'annotations', ANNOTATIONS.injected) : undefined;
}

/** As `heddle inject` leaves it: whatever the labels say, its pods have one. */
function byManifest(revision: string): string {
  return `its manifest has the sidecar of revision ${revision}`;
}

function controllerOf(pod: KubeObject): { readonly kind: string | undefined; readonly name: string } {
  const owner = listAt(pod, 'metadata', 'ownerReferences').find((one) => at(one, 'controller') === true);
  return { kind: textAt(owner, 'kind'), name: textAt(owner, 'name') ?? '' };
}

/** The workload that a pod comes from in the end: a ReplicaSet's Deployment, a Job's CronJob. */
function makerOf(pod: KubeObject, { workloads }: InjectionFacts): KubeObject | undefined {
  const { kind, name } = controllerOf(pod);
  const maker = { ReplicaSet: 'Deployment', Job: 'CronJob' }[kind ?? ''];
  return (
    workloads.find((one) => one.kind === kind && one.metadata.name === name) ??
    workloads.find((one) => one.kind === maker && name.startsWith(`${one.metadata.name}-`))
  );
}

/** Where workloads weren't read: a Deployment names its ReplicaSet by its own name and the hash that its pods have as a label. */
function deploymentOf(pod: KubeObject): { readonly kind: 'Deployment'; readonly name: string } | undefined {
  const { kind, name } = controllerOf(pod);
  const hash = pod.metadata.labels?.['pod-template-hash'];
  if (kind !== 'ReplicaSet' || hash === undefined || !name.endsWith(`-${hash}`)) return undefined;
  return { kind: 'Deployment', name: name.slice(0, -hash.length - 1) };
}

/** How a pod is made anew, by whoever made it. */
function anew(pod: KubeObject, facts: InjectionFacts): string {
  const { namespace } = facts;
  const maker = makerOf(pod, facts);
  const workload =
    maker?.kind === 'Deployment'
      ? { kind: maker.kind, name: maker.metadata.name }
      : (deploymentOf(pod) ?? controllerOf(pod));
  if (workload.kind !== undefined && RESTARTED.includes(workload.kind))
    return `kubectl rollout restart ${workload.kind.toLowerCase()}/${workload.name} -n ${namespace}`;
  if (workload.kind === undefined) return 'create it anew: nothing makes another pod in its place';
  return `kubectl delete pod ${pod.metadata.name} -n ${namespace}, where its ${workload.kind} makes another`;
}

/** What is wrong with the webhooks that the rows depend on. */
export function webhookFindings(facts: InjectionFacts): readonly Finding[] {
  const { webhooks } = facts;
  if (webhooks === undefined) return [];
  const { configurations } = webhooks;
  if (configurations === undefined)
    return [
      {
        ...{ level: 'note', about: 'webhook' },
        message:
          'you may not read MutatingWebhookConfigurations, so that the webhook itself was not looked at',
      },
    ];
  return revisionsOf(facts).flatMap((revision) => configurationFindings(revision, webhooks, configurations));
}

/** Of everything in the namespace that is to be injected. */
function revisionsOf({ namespace, labels, pods, workloads }: InjectionFacts): readonly string[] {
  const selections = [
    selectionOf(namespace, labels, {}),
    ...pods.map((pod) => selectionOf(namespace, labels, pod.metadata.labels ?? {})),
    ...workloads
      .flatMap((workload) => podTemplates(workload))
      .map(({ pod }) => selectionOf(namespace, labels, textsAt(pod, 'metadata', 'labels'))),
  ];
  return [...new Set(selections.filter(({ selected }) => selected).map(({ revision }) => revision))].sort();
}

function configurationFindings(
  revision: string,
  webhooks: WebhookFacts,
  configurations: readonly KubeObject[],
): readonly Finding[] {
  const name = injectorName(revision);
  const about = `webhook ${name}`;
  const configuration = configurations.find((one) => one.metadata.name === name);
  if (configuration === undefined)
    return [
      {
        ...{
          level: 'problem',
          about,
          message: `there is no MutatingWebhookConfiguration for revision ${revision}: nothing is injected`,
        },
        remedy: `install that revision (heddle install), or change ${LABELS.revision}`,
      },
    ];
  const entries = listAt(configuration, 'webhooks');
  const found: Finding[] = [];
  if (entries.some((one) => (textAt(one, 'clientConfig', 'caBundle') ?? '') === ''))
    found.push({
      ...{
        level: 'problem',
        about,
        message: 'its caBundle is empty: the API server trusts no injector, and refuses the pods',
      },
      remedy: `kubectl logs deployment/heddle-control-plane -n ${SYSTEM_NAMESPACE}; its leader writes it`,
    });
  if (entries.some((one) => textAt(one, 'failurePolicy') !== 'Fail'))
    found.push({
      ...{
        level: 'warning',
        about,
        message: 'its failurePolicy is not Fail: pods come up without a sidecar while no injector answers',
      },
      remedy: 'heddle upgrade puts it back',
    });
  const ready = webhooks.readyInjectors(revision);
  if (ready === 0)
    found.push({
      ...{ level: 'problem', about, message: 'no injector is ready: new pods are refused' },
      remedy: `kubectl get pods -n ${SYSTEM_NAMESPACE}; kubectl logs deployment/${name} -n ${SYSTEM_NAMESPACE}`,
    });
  if (found.length === 0 && ready !== undefined)
    found.push({ level: 'good', about, message: `${ready} ready, trusted by the API server` });
  return found;
}

/** Ready endpoints of Services in EndpointSlices. */
export function readyEndpoints(slices: readonly KubeObject[], service: string): number {
  return slices
    .filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === service)
    .flatMap((slice) => listAt(slice, 'endpoints'))
    .filter((endpoint) => at(endpoint, 'conditions', 'ready') !== false).length;
}
