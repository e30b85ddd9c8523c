import { PORTS, SIDECAR } from '../../common/contracts.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import { objectsOf, portOf, recordOf, textOf } from '../../model/read/meta.ts';
import { type PatchOperation, pointer } from './json-patch.ts';
import { type ContainerView, type PodView, stays } from './pod.ts';

/** Probe fields of a container, and the last part of the path under which the sidecar answers for each. */
const PROBES = { livenessProbe: 'livez', readinessProbe: 'readyz', startupProbe: 'startupz' } as const;
type ProbeField = keyof typeof PROBES;

/** The app's own probes by container and kind, as the sidecar reads them from `HEDDLE_APP_PROBES`. */
export type CarriedProbes = Readonly<Record<string, JsonObject>>;

export interface RewrittenProbes {
  readonly operations: readonly PatchOperation[];
  /** Undefined where nothing is new. */
  readonly carried: CarriedProbes | undefined;
  readonly warnings: readonly string[];
}

/** The sidecar takes no more. */
export const carriedProbesMax = 96;
/** Of all of them as JSON: the kernel starts no program with a variable of more than 128 KiB, and a character may be three bytes. */
export const carriedProbesCharsMax = 32 * 1024;
/** The sidecar waits no longer for an app. */
export const probeTimeoutSecondsMax = 300;

/**
 * Leads the node's probes to the sidecar's health port, which asks the app in their stead: kubelet has no certificate, so
 * under STRICT the app's own port would refuse it. `exec` probes, and those of another host, stay. `before`: what an
 * earlier pass has led there.
 */
export function rewriteProbes(view: PodView, before: CarriedProbes): RewrittenProbes {
  const operations: PatchOperation[] = [];
  const warnings: string[] = [];
  const carried = new Map(Object.entries(before));
  let count = [...carried.values()].reduce((sum, kinds) => sum + Object.keys(kinds).length, 0);
  let chars = JSON.stringify(before).length;
  const apps = [...view.init.filter(stays), ...view.containers];
  for (const container of apps.filter(({ name }) => name !== SIDECAR.container)) {
    for (const [field, kind] of Object.entries(PROBES) as [ProbeField, string][]) {
      const probe = container.object[field];
      const path = `/app-health/${container.name}/${kind}`;
      if (!isJsonObject(probe) || leadsTo(probe, path)) continue;
      const found = carriable(probe, container);
      if (found === undefined) continue;
      const more = JSON.stringify({ [container.name]: { [kind]: found.probe } }).length;
      const refusal = found.refusal ?? carryingProblem(count, chars + more);
      if (refusal !== undefined) {
        warnings.push(
          `the ${field} of container ${container.name} goes to the app itself and fails under STRICT: ${refusal}`,
        );
        continue;
      }
      carried.set(container.name, { ...carried.get(container.name), [kind]: found.probe });
      count++;
      chars += more;
      operations.push(...led(pointer(field), container.path, found.handler, path));
    }
  }
  const changed = operations.length > 0;
  return { operations, carried: changed ? Object.fromEntries(carried) : undefined, warnings };
}

function carryingProblem(count: number, chars: number): string | undefined {
  if (count >= carriedProbesMax) return `a sidecar asks ${carriedProbesMax} probes`;
  if (chars <= carriedProbesCharsMax) return undefined;
  return `a sidecar is told of its probes in ${carriedProbesCharsMax} characters, so make its headers or path shorter`;
}

function leadsTo(probe: JsonObject, path: string): boolean {
  const { httpGet } = probe;
  return isJsonObject(httpGet) && httpGet.port === PORTS.proxyHealth && httpGet.path === path;
}

/** Only the handler changes: timing stays the pod's own. */
function led(field: string, container: string, handler: string, path: string): PatchOperation[] {
  const at = `${container}${field}`;
  const value = { path, port: PORTS.proxyHealth };
  if (handler === 'httpGet') return [{ op: 'replace', path: `${at}/httpGet`, value }];
  return [
    { op: 'remove', path: `${at}/${handler}` },
    { op: 'add', path: `${at}/httpGet`, value },
  ];
}

interface Carriable {
  readonly handler: 'httpGet' | 'tcpSocket' | 'grpc';
  readonly probe: JsonObject;
  /** Why the sidecar can't ask in the node's stead. */
  readonly refusal: string | undefined;
}

/** The probe as the sidecar needs it; undefined where it doesn't go to the pod's own ports. */
function carriable(probe: JsonObject, container: ContainerView): Carriable | undefined {
  const handlers = (['httpGet', 'tcpSocket', 'grpc'] as const).filter((name) => isJsonObject(probe[name]));
  const [handler, second] = handlers;
  if (handler === undefined || second !== undefined) return undefined;
  const asked = recordOf(probe[handler]);
  if (textOf(asked.host) !== undefined) return undefined;
  const port = numberOf(asked.port, container);
  const seconds = probe.timeoutSeconds;
  const timeout = typeof seconds === 'number' && seconds > 0 ? { timeoutSeconds: seconds } : {};
  return {
    handler,
    probe: {
      [handler]: { ...fieldsOf(handler, asked), ...(port === undefined ? {} : { port }) },
      ...timeout,
    },
    refusal:
      port === undefined
        ? `the container has no port named "${textOf(asked.port) ?? ''}"`
        : (timeoutProblem(seconds) ?? headerProblem(asked)),
  };
}

function numberOf(port: unknown, container: ContainerView): number | undefined {
  if (typeof port !== 'string') return portOf(port);
  return container.ports.find((entry) => entry.name === port)?.port;
}

/** Known fields only: the sidecar starts with nothing else. */
function fieldsOf(handler: Carriable['handler'], asked: Readonly<Record<string, unknown>>): JsonObject {
  const text = (name: string) => {
    const value = textOf(asked[name]);
    return value === undefined ? {} : { [name]: value };
  };
  switch (handler) {
    case 'httpGet': {
      const headers = objectsOf(asked.httpHeaders).map(({ name, value }) => ({
        name: textOf(name) ?? '',
        value: textOf(value) ?? '',
      }));
      const secure = asked.scheme === 'HTTPS' ? { scheme: 'HTTPS' } : {};
      return { ...text('path'), ...secure, ...(headers.length === 0 ? {} : { httpHeaders: headers }) };
    }
    case 'grpc':
      return text('service');
    case 'tcpSocket':
      return {};
    default:
      return handler satisfies never;
  }
}

function timeoutProblem(seconds: unknown): string | undefined {
  if (typeof seconds !== 'number' || seconds <= probeTimeoutSecondsMax) return undefined;
  return `its timeoutSeconds may be ${probeTimeoutSecondsMax} at most`;
}

/** The API server doesn't look at values: one with a line break can't be sent. */
function headerProblem(asked: Readonly<Record<string, unknown>>): string | undefined {
  const bad = objectsOf(asked.httpHeaders).find(
    ({ name, value }) =>
      !/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(textOf(name) ?? '') ||
      !/^[\t\x20-\x7e\x80-\xff]*$/.test(textOf(value) ?? ''),
  );
  return bad === undefined ? undefined : `its header "${textOf(bad.name) ?? ''}" can't be sent over HTTP`;
}
