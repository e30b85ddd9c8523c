import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, numberAt, objectAt, textAt } from '../kube/fields.ts';

export interface ContainerPort {
  readonly name: string | undefined;
  readonly port: number;
  readonly protocol: string;
  /** Of the node, for a network that has nodes. */
  readonly hostPort: number | undefined;
  readonly hostIp: string | undefined;
}

export interface ContainerSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string | undefined;
  readonly env: readonly JsonValue[];
  readonly envFrom: readonly JsonValue[];
  readonly ports: readonly ContainerPort[];
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly subPath: string | undefined;
  }[];
  readonly probes: Readonly<Record<ProbeKind, JsonValue | undefined>>;
  readonly preStop: JsonValue | undefined;
  /** `securityContext`, over the pod's. */
  readonly security: JsonObject;
  /** A native sidecar: an init container with `restartPolicy: Always`. */
  readonly sidecar: boolean;
}

export type ProbeKind = 'startup' | 'readiness' | 'liveness';
export type RestartPolicy = 'Always' | 'OnFailure' | 'Never';

export interface PodSpec {
  readonly init: readonly ContainerSpec[];
  readonly containers: readonly ContainerSpec[];
  readonly volumes: readonly JsonValue[];
  readonly restartPolicy: RestartPolicy;
  readonly graceMs: number;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
}

const DEFAULT_GRACE_SECONDS = 30;

export function podSpecOf(pod: KubeObject): PodSpec {
  const spec = pod.spec;
  const restartPolicy = textAt(spec, 'restartPolicy');
  return {
    init: listAt(spec, 'initContainers').map((entry) => containerOf(entry, true)),
    containers: listAt(spec, 'containers').map((entry) => containerOf(entry, false)),
    volumes: listAt(spec, 'volumes'),
    restartPolicy: restartPolicy === 'OnFailure' || restartPolicy === 'Never' ? restartPolicy : 'Always',
    graceMs: (numberAt(spec, 'terminationGracePeriodSeconds') ?? DEFAULT_GRACE_SECONDS) * 1_000,
    serviceAccount: textAt(spec, 'serviceAccountName') ?? textAt(spec, 'serviceAccount') ?? 'default',
    hostNetwork: at(spec, 'hostNetwork') === true,
  };
}

function containerOf(entry: JsonValue, init: boolean): ContainerSpec {
  const probe = (key: string) => {
    const found = objectAt(entry, key);
    return Object.keys(found).length === 0 ? undefined : found;
  };
  return {
    name: textAt(entry, 'name') ?? '',
    command: texts(listAt(entry, 'command')),
    args: texts(listAt(entry, 'args')),
    workingDir: textAt(entry, 'workingDir'),
    env: listAt(entry, 'env'),
    envFrom: listAt(entry, 'envFrom'),
    ports: listAt(entry, 'ports').flatMap((port) => {
      const number = numberAt(port, 'containerPort');
      if (number === undefined) return [];
      return [
        {
          ...{ name: textAt(port, 'name'), port: number, protocol: textAt(port, 'protocol') ?? 'TCP' },
          ...{ hostPort: numberAt(port, 'hostPort'), hostIp: textAt(port, 'hostIP') },
        },
      ];
    }),
    volumeMounts: listAt(entry, 'volumeMounts').map((mount) => ({
      name: textAt(mount, 'name') ?? '',
      mountPath: (textAt(mount, 'mountPath') ?? '').replace(/\/+$/, ''),
      subPath: textAt(mount, 'subPath'),
    })),
    probes: {
      startup: probe('startupProbe'),
      readiness: probe('readinessProbe'),
      liveness: probe('livenessProbe'),
    },
    security: objectAt(entry, 'securityContext'),
    preStop: probe('lifecycle') === undefined ? undefined : objectAt(entry, 'lifecycle').preStop,
    sidecar: init && textAt(entry, 'restartPolicy') === 'Always',
  };
}

function texts(values: readonly JsonValue[]): readonly string[] {
  return values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
}
