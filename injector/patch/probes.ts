import { PORTS, SIDECAR } from '../../common/contracts.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import { objectsOf, portOf, recordOf, textOf } from '../../model/read/meta.ts';
import { type PatchOperation, pointer } from './json-patch.ts';
import { type ContainerView, type PodView, stays } from './pod.ts';

/** Probe fields of a container, and the last part of the path under which the sidecar answers for each. */
const PROBES = { livenessProbe: 'livez', readinessProbe: 'readyz', startupProbe: 'startupz' } as const;
type ProbeField = keyof typeof PROBES;
/** Hooks that the node calls, and what tells them from probes: no container's name has a dot. */
const HOOKS = { postStart: '.poststart', preStop: '.prestop' } as const;
type HookField = keyof typeof HOOKS;

/** The app's own probes, and hooks as if they were some, by container and kind, as the sidecar reads them from `HEDDLE_APP_PROBES`. */
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

/** What the node asks of a container over the network. */
interface Ask {
  /** For people: `livenessProbe`. */
  readonly what: string;
  /** Where it stands in its container, as a JSON pointer. */
  readonly at: string;
  readonly probe: JsonObject;
  readonly carrier: string;
  readonly kind: string;
}

/**
 * Leads the node's probes and HTTP hooks to the sidecar's health port, which asks the app in their stead: kubelet has no certificate, so
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
    for (const { what, at, probe, carrier, kind } of asksOf(container)) {
      const path = `/app-health/${carrier}/${kind}`;
      if (leadsTo(probe, path)) continue;
      const found = carriable(probe, container);
      if (found === undefined) continue;
      const more = JSON.stringify({ [carrier]: { [kind]: found.probe } }).length;
      const refusal = found.refusal ?? carryingProblem(count, chars + more);
      if (refusal !== undefined) {
        warnings.push(
          `the ${what} of container ${container.name} goes to the app itself and fails under STRICT: ${refusal}`,
        );
        continue;
      }
      carried.set(carrier, { ...carried.get(carrier), [kind]: found.probe });
      count++;
      chars += more;
      operations.push(...led(`${container.path}${at}`, found.handler, path));
    }
  }
  const changed = operations.length > 0;
  return { operations, carried: changed ? Object.fromEntries(carried) : undefined, warnings };
}

function asksOf({ name, object }: ContainerView): readonly Ask[] {
  const probes = (Object.entries(PROBES) as [ProbeField, string][]).flatMap(([field, kind]) => {
    const probe = object[field];
    return isJsonObject(probe) ? [{ what: field, at: pointer(field), probe, carrier: name, kind }] : [];
  });
  const hooks = (Object.entries(HOOKS) as [HookField, string][]).flatMap(([field, suffix]) => {
    const { httpGet } = recordOf(recordOf(object.lifecycle)[field]);
    // A hook may take as long as the sidecar waits for anything.
    const probe = isJsonObject(httpGet) ? { httpGet, timeoutSeconds: probeTimeoutSecondsMax } : undefined;
    const at = pointer('lifecycle', field);
    return probe === undefined
      ? []
      : [{ what: `${field} hook`, at, probe, carrier: `${name}${suffix}`, kind: PROBES.livenessProbe }];
  });
  return [...probes, ...hooks];
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
function led(at: string, handler: string, path: string): PatchOperation[] {
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
      const path = textOf(asked.path);
      const target = path === undefined ? {} : { path: requestTarget(path) };
      return { ...target, ...secure, ...(headers.length === 0 ? {} : { httpHeaders: headers }) };
    }
    case 'grpc':
      return text('service');
    case 'tcpSocket':
      return {};
    default:
      return handler satisfies never;
  }
}

/** The path as kubelet asks for it: encoded where it has to be, and without a fragment. */
function requestTarget(path: string): string {
  const [before = ''] = path.toWellFormed().split('#', 1);
  const query = before.indexOf('?');
  const end = query < 0 ? before.length : query;
  return (
    before.slice(0, end).replaceAll(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/[\]%]/gu, encodeURIComponent) +
    before.slice(end).replaceAll(/[^!-~]/gu, encodeURIComponent)
  );
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
