import { isJsonObject } from '../../common/json.ts';
import { isPort, type Parsed } from '../bootstrap-values.ts';

/** An app's own probe, as its manifest had it (Kubernetes, core/v1 Probe: httpGet, tcpSocket, grpc). */
export type AppProbe = {
  readonly timeoutMs: number;
  readonly port: number;
} & (
  | {
      readonly kind: 'http';
      /** Undefined: the app's own address. */
      readonly host: string | undefined;
      readonly path: string;
      readonly tls: boolean;
      readonly headers: readonly (readonly [name: string, value: string])[];
    }
  | { readonly kind: 'tcp'; readonly host: string | undefined }
  | { readonly kind: 'grpc'; readonly service: string }
);

/** By path under which they are asked for: `/app-health/<container>/<livez|readyz|startupz>`. */
export type AppProbes = ReadonlyMap<string, AppProbe>;

export const APP_HEALTH_PREFIX = '/app-health/';
export const appProbesMax = 96;
const KINDS = ['livez', 'readyz', 'startupz'] as const;
/** Kubernetes' default. */
const TIMEOUT_SECONDS = 1;
const TIMEOUT_SECONDS_MAX = 300;

/**
 * `{"<container>": {"livez": {"httpGet": {…}, "timeoutSeconds": 1}, "readyz": …, "startupz": …}}`, ports as numbers. The
 * timing of a probe is its asker's business; its other fields are not looked at.
 */
export function parseAppProbes(text: string): Parsed<AppProbes> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { ok: false, problem: 'must be JSON' };
  }
  if (!isJsonObject(body)) return { ok: false, problem: 'must be a JSON object of containers' };
  const probes = new Map<string, AppProbe>();
  try {
    for (const [container, kinds] of Object.entries(body)) {
      if (!isJsonObject(kinds)) throw new Problem(container, 'must be an object of probes');
      for (const [kind, probe] of Object.entries(kinds)) {
        const where = `${container}.${kind}`;
        if (!KINDS.some((known) => known === kind))
          throw new Problem(where, `is none of ${KINDS.join(', ')}`);
        probes.set(`${APP_HEALTH_PREFIX}${container}/${kind}`, readProbe(probe, where));
      }
    }
  } catch (thrown) {
    if (thrown instanceof Problem) return { ok: false, problem: thrown.message };
    throw thrown;
  }
  if (probes.size > appProbesMax) return { ok: false, problem: `may hold ${appProbesMax} probes` };
  return { ok: true, value: probes };
}

class Problem extends Error {
  constructor(where: string, what: string) {
    super(`is wrong at ${where}: ${what}`);
  }
}

function readProbe(probe: unknown, where: string): AppProbe {
  if (!isJsonObject(probe)) throw new Problem(where, 'must be an object');
  const seconds = probe.timeoutSeconds ?? TIMEOUT_SECONDS;
  if (typeof seconds !== 'number' || !(seconds > 0) || seconds > TIMEOUT_SECONDS_MAX) {
    throw new Problem(`${where}.timeoutSeconds`, `must be a number up to ${TIMEOUT_SECONDS_MAX}`);
  }
  const timeoutMs = seconds * 1_000;
  const { httpGet, tcpSocket, grpc } = probe;
  if (isJsonObject(httpGet)) return readHttp(httpGet, timeoutMs, `${where}.httpGet`);
  if (isJsonObject(tcpSocket)) {
    const port = portOf(tcpSocket.port, `${where}.tcpSocket`);
    return { kind: 'tcp', timeoutMs, port, host: textOf(tcpSocket.host, `${where}.tcpSocket.host`) };
  }
  if (isJsonObject(grpc)) {
    const service = textOf(grpc.service, `${where}.grpc.service`) ?? '';
    return { kind: 'grpc', timeoutMs, port: portOf(grpc.port, `${where}.grpc`), service };
  }
  throw new Problem(where, 'must have httpGet, tcpSocket or grpc');
}

function readHttp(handler: Record<string, unknown>, timeoutMs: number, where: string): AppProbe {
  const scheme = textOf(handler.scheme, `${where}.scheme`) ?? 'HTTP';
  if (scheme !== 'HTTP' && scheme !== 'HTTPS') throw new Problem(`${where}.scheme`, 'must be HTTP or HTTPS');
  const path = textOf(handler.path, `${where}.path`) ?? '/';
  const headers = handler.httpHeaders ?? [];
  if (!Array.isArray(headers)) throw new Problem(`${where}.httpHeaders`, 'must be a list');
  return {
    kind: 'http',
    timeoutMs,
    port: portOf(handler.port, where),
    host: textOf(handler.host, `${where}.host`),
    path: path.startsWith('/') ? path : `/${path}`,
    tls: scheme === 'HTTPS',
    headers: headers.map((header: unknown) => readHeader(header, `${where}.httpHeaders`)),
  };
}

function readHeader(header: unknown, where: string): readonly [string, string] {
  if (isJsonObject(header) && typeof header.name === 'string' && typeof header.value === 'string') {
    if (
      /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(header.name) &&
      /^[\t\x20-\x7e\x80-\xff]*$/.test(header.value)
    ) {
      return [header.name, header.value];
    }
  }
  throw new Problem(where, 'must hold a name and a value that HTTP allows');
}

function portOf(value: unknown, where: string): number {
  if (typeof value === 'number' && isPort(value)) return value;
  throw new Problem(`${where}.port`, 'must be a port number (names are resolved by the injector)');
}

function textOf(value: unknown, where: string): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (typeof value === 'string') return value;
  throw new Problem(where, 'must be text');
}
