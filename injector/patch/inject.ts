import { isIP } from 'node:net';
import { ANNOTATIONS, LABELS, SIDECAR } from '../../common/contracts.ts';
import type { Result } from '../../common/errors.ts';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import { textOf } from '../../model/read/meta.ts';
import { readSettings, type SidecarSettings } from './annotations.ts';
import { conflicts, reasonToLeave, reasonToSkip } from './eligible.ts';
import { type PatchOperation, pointer } from './json-patch.ts';
import { type ContainerView, type PodView, readPod, stays } from './pod.ts';
import { enlargePod } from './pod-resources.ts';
import { type CarriedProbes, rewriteProbes } from './probes.ts';
import { mergeScraping } from './scraping.ts';
import { delayShutdown } from './shutdown.ts';
import {
  APP_PROBES_VARIABLE,
  APP_PROMETHEUS_VARIABLE,
  IDENTITY_VOLUME,
  identityVolume,
  SERVICE_NAME_VARIABLE,
  type SidecarOptions,
  sidecarContainer,
  variableOf,
  withVariables,
} from './sidecar.ts';

export interface InjectionOptions extends SidecarOptions {
  /** Of the request: a pod of a generator doesn't carry its own. */
  readonly namespace: string;
  /** This injector's, as several run side by side during an upgrade. */
  readonly revision: string;
  /** What traces call the workload, where the pod is a template and its maker is known. */
  readonly workload?: string | undefined;
}

/** What becomes of a pod. Warnings are for whoever created it. */
export type Injection =
  | {
      readonly kind: 'patch';
      readonly operations: readonly PatchOperation[];
      readonly warnings: readonly string[];
    }
  | { readonly kind: 'skip'; readonly reason: string; readonly warnings: readonly string[] }
  | { readonly kind: 'refuse'; readonly message: string };

/**
 * Decides on a pod that is about to be created: the JSON Patch that adds the sidecar, or why there is none. Pure, and
 * never throws whatever `pod` is. A pass over its own result changes nothing, unless another webhook has added something in
 * between: then the sidecar is first again and takes on the new probes.
 */
export function injectPod(pod: unknown, options: InjectionOptions): Injection {
  const read = readPod(pod);
  if (!read.ok) return { kind: 'refuse', message: read.error };
  const view = read.value;
  const leave = reasonToLeave(view, options.revision);
  if (leave !== undefined) return { kind: 'skip', reason: leave, warnings: [] };
  const skip = reasonToSkip(view, options.namespace);
  if (skip !== undefined) return skipped(view, skip);
  const revision = view.annotations.get(ANNOTATIONS.injected);
  const standing =
    revision === undefined
      ? undefined
      : view.init.find((container) => container.name === SIDECAR.container && stays(container));
  const { settings, problems, warnings } = readSettings(view.annotations);
  const faults = [...conflicts(view, standing !== undefined), ...problems];
  if (faults.length > 0) return { kind: 'refuse', message: faults.join('; ') };
  if (standing !== undefined && revision !== options.revision)
    return skipped(view, `revision ${revision} has injected it already`);
  const patch = patchFor(view, standing, settings, options);
  if (!patch.ok) return { kind: 'refuse', message: patch.error };
  if (patch.value.operations.length === 0) return skipped(view, 'it is injected already');
  return {
    kind: 'patch',
    operations: patch.value.operations,
    warnings: [
      ...warnings,
      ...captureWarnings(view, options),
      ...dnsWarnings(view, options),
      ...patch.value.warnings,
    ],
  };
}

interface Patch {
  readonly operations: readonly PatchOperation[];
  readonly warnings: readonly string[];
}

/** Of a sidecar that is there already: a patch may have to repeat it whole, and answers are kept until they are taken. */
export const standingCharsMax = 128 * 1024;

/** The sidecar comes last: until then, indexes of init containers are those of the pod as it came. */
function patchFor(
  view: PodView,
  standing: ContainerView | undefined,
  settings: SidecarSettings,
  options: InjectionOptions,
): Result<Patch, string> {
  const before = standing === undefined ? { ok: true as const, value: {} } : carriedBefore(standing);
  if (!before.ok) return before;
  if (standing !== undefined && JSON.stringify(standing.object).length > standingCharsMax)
    return {
      ok: false,
      error: `the container ${SIDECAR.container} has more than ${standingCharsMax} characters: create the pod from a manifest without the sidecar`,
    };
  const probes = rewriteProbes(view, before.value);
  const scraping = mergeScraping(view);
  const app = new Map<string, string>();
  if (probes.carried !== undefined) app.set(APP_PROBES_VARIABLE, JSON.stringify(probes.carried));
  if (scraping.app !== undefined) app.set(APP_PROMETHEUS_VARIABLE, scraping.app);
  const enlarged =
    standing === undefined ? enlargePod(view, settings.resources) : { operations: [], warnings: [] };
  const volume = view.volumes.has(IDENTITY_VOLUME)
    ? []
    : [appended(pointer('spec', 'volumes'), view.absent.volumes, '-', identityVolume())];
  return {
    ok: true,
    value: {
      operations: [
        ...(standing === undefined ? [marked(view, options.revision)] : []),
        ...scraping.operations,
        ...probes.operations,
        ...(standing === undefined ? delayShutdown(view, settings.shutdownDelaySeconds) : []),
        ...volume,
        ...pullSecrets(view, options),
        ...enlarged.operations,
        ...(standing === undefined
          ? [
              appended(
                pointer('spec', 'initContainers'),
                view.absent.init,
                '0',
                sidecarContainer(options, settings, named(app, view.workload ?? options.workload)),
              ),
            ]
          : kept(standing, app)),
      ],
      warnings: [...probes.warnings, ...scraping.warnings, ...enlarged.warnings],
    },
  };
}

function named(app: ReadonlyMap<string, string>, workload: string | undefined): ReadonlyMap<string, string> {
  return workload === undefined ? app : new Map([[SERVICE_NAME_VARIABLE, workload], ...app]);
}

/** Without a sign of capture the node agent would leave the pod alone. */
function marked(view: PodView, revision: string): PatchOperation {
  const path = pointer('metadata', 'annotations');
  if (view.absent.annotations) return { op: 'add', path, value: { [ANNOTATIONS.injected]: revision } };
  return { op: 'add', path: `${path}${pointer(ANNOTATIONS.injected)}`, value: revision };
}

function appended(path: string, absent: boolean, index: '0' | '-', value: JsonValue): PatchOperation {
  return absent ? { op: 'add', path, value: [value] } : { op: 'add', path: `${path}/${index}`, value };
}

/** A list that isn't there yet comes whole, others grow. */
function pullSecrets(view: PodView, options: InjectionOptions): PatchOperation[] {
  const missing = options.imagePullSecrets.filter((name) => !view.pullSecrets.has(name));
  if (missing.length === 0) return [];
  const path = pointer('spec', 'imagePullSecrets');
  if (view.absent.pullSecrets) return [{ op: 'add', path, value: missing.map((name) => ({ name })) }];
  return missing.map((name) => ({ op: 'add', path: `${path}/-`, value: { name } }));
}

/** Puts a sidecar of an earlier pass first again, with what it has to know since. */
function kept(standing: ContainerView, app: ReadonlyMap<string, string>): PatchOperation[] {
  const value = withVariables(standing.object, app);
  if (standing.index === 0) return app.size === 0 ? [] : [{ op: 'replace', path: standing.path, value }];
  return [
    { op: 'remove', path: standing.path },
    {
      op: 'add',
      path: pointer('spec', 'initContainers', 0),
      value: app.size === 0 ? standing.object : value,
    },
  ];
}

function carriedBefore(standing: ContainerView): Result<CarriedProbes, string> {
  const text = variableOf(standing.object, APP_PROBES_VARIABLE);
  if (text === undefined) return { ok: true, value: {} };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (isJsonObject(parsed)) {
    const entries = Object.entries(parsed).flatMap(([name, kinds]) =>
      isJsonObject(kinds) ? [[name, kinds] as const] : [],
    );
    return { ok: true, value: Object.fromEntries(entries) };
  }
  return {
    ok: false,
    error: `the sidecar's ${APP_PROBES_VARIABLE} is not JSON: create the pod from a manifest without the sidecar`,
  };
}

function skipped(view: PodView, reason: string): Injection {
  const asked = view.labels.get(LABELS.inject) === 'enabled' && !view.annotations.has(ANNOTATIONS.injected);
  return {
    kind: 'skip',
    reason,
    warnings: asked ? [`the pod asks for a sidecar (${LABELS.inject}) and gets none: ${reason}`] : [],
  };
}

function captureWarnings(view: PodView, options: InjectionOptions): string[] {
  if (options.capture === 'transparent') return [];
  return [ANNOTATIONS.skipOutboundPorts, ANNOTATIONS.skipOutboundCidrs]
    .filter((annotation) => view.annotations.has(annotation))
    .map((annotation) => `${annotation} has no effect where apps choose their proxy: use no_proxy`);
}

/** By a node's own name servers no Service is found. */
function dnsWarnings(view: PodView, options: InjectionOptions): string[] {
  const policy = textOf(view.spec.dnsPolicy);
  const host = options.controlPlane.slice(0, options.controlPlane.lastIndexOf(':'));
  if ((policy !== 'Default' && policy !== 'None') || host.startsWith('[') || isIP(host) !== 0) return [];
  return [
    `its dnsPolicy is ${policy}: the sidecar starts only where its name servers know ${host} (ClusterFirst does)`,
  ];
}
