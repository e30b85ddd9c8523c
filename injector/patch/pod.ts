import type { Result } from '../../common/errors.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import { objectsOf, portOf, recordOf, stringMap, textOf } from '../../model/read/meta.ts';
import { pointer } from './json-patch.ts';
import { controllerName } from './service-name.ts';

interface ContainerPort {
  readonly name: string | undefined;
  readonly port: number;
  readonly protocol: string;
}

export interface ContainerView {
  readonly name: string;
  /** Where it stands in the pod, as a JSON pointer. */
  readonly path: string;
  readonly index: number;
  readonly object: JsonObject;
  readonly ports: readonly ContainerPort[];
}

/** The parts of a pod that injection reads. What the API server checks anyway isn't checked here. */
export interface PodView {
  /** What traces call the workload that the pod is of; undefined: by the pod's own name. */
  readonly workload: string | undefined;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
  readonly spec: JsonObject;
  readonly init: readonly ContainerView[];
  readonly containers: readonly ContainerView[];
  readonly volumes: ReadonlySet<string>;
  readonly pullSecrets: ReadonlySet<string>;
  /** Lists and maps that the pod doesn't have yet can't be appended to. */
  readonly absent: Readonly<Record<'annotations' | 'init' | 'volumes' | 'pullSecrets', boolean>>;
}

/** Init containers and containers together; more are refused. */
export const containersMax = 256;

const CONTAINER_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Reads an untrusted object as a pod. The error says what is wrong with its shape. */
export function readPod(pod: unknown): Result<PodView, string> {
  if (!isJsonObject(pod) || pod.kind !== 'Pod') return wrong('the object is not a Pod');
  const { metadata, spec } = pod;
  if (!isJsonObject(metadata)) return wrong('the pod has no metadata');
  if (!isJsonObject(spec)) return wrong('the pod has no spec');
  const init = readContainers(spec, 'initContainers');
  if (!init.ok) return init;
  const containers = readContainers(spec, 'containers');
  if (!containers.ok) return containers;
  if (containers.value.length === 0) return wrong('the pod has no containers');
  const count = init.value.length + containers.value.length;
  if (count > containersMax)
    return wrong(`the pod has ${count} containers; ${containersMax} may be injected`);
  return {
    ok: true,
    value: {
      workload: controllerName(metadata),
      labels: stringMap(metadata.labels),
      annotations: stringMap(metadata.annotations),
      spec,
      init: init.value,
      containers: containers.value,
      volumes: namesOf(spec.volumes),
      pullSecrets: namesOf(spec.imagePullSecrets),
      absent: {
        annotations: !isJsonObject(metadata.annotations),
        init: !Array.isArray(spec.initContainers),
        volumes: !Array.isArray(spec.volumes),
        pullSecrets: !Array.isArray(spec.imagePullSecrets),
      },
    },
  };
}

function namesOf(list: unknown): ReadonlySet<string> {
  return new Set(objectsOf(list).map(({ name }) => textOf(name) ?? ''));
}

function readContainers(spec: JsonObject, field: string): Result<readonly ContainerView[], string> {
  const list = spec[field] ?? [];
  if (!Array.isArray(list)) return wrong(`spec.${field} is not a list`);
  const views: ContainerView[] = [];
  for (const [index, object] of list.entries()) {
    const name: unknown = isJsonObject(object) ? object.name : undefined;
    if (!isJsonObject(object) || typeof name !== 'string' || !CONTAINER_NAME.test(name))
      return wrong(`spec.${field}[${index}] is not a container with a name`);
    views.push({ name, path: pointer('spec', field, index), index, object, ports: readPorts(object) });
  }
  return { ok: true, value: views };
}

function readPorts(container: JsonObject): readonly ContainerPort[] {
  return objectsOf(container.ports).flatMap((entry) => {
    const port = portOf(entry.containerPort);
    if (port === undefined) return [];
    return [{ name: textOf(entry.name), port, protocol: textOf(entry.protocol) ?? 'TCP' }];
  });
}

/** A native sidecar: an init container that stays (Kubernetes, "Sidecar Containers"). */
export function stays(container: ContainerView): boolean {
  return container.object.restartPolicy === 'Always';
}

/** The user and group that a container runs as: its own setting, or else its pod's. */
export function runsAs(
  view: PodView,
  container: ContainerView,
): { readonly uid: unknown; readonly gid: unknown } {
  const own = recordOf(container.object.securityContext);
  const pod = recordOf(view.spec.securityContext);
  return { uid: own.runAsUser ?? pod.runAsUser, gid: own.runAsGroup ?? pod.runAsGroup };
}

function wrong(message: string): { readonly ok: false; readonly error: string } {
  return { ok: false, error: message };
}
