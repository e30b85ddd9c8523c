import type { MeshSettings } from './mesh.ts';
import type { ObjectOrigin, Problem } from './objects.ts';
import { type FieldError, Fields, fieldName } from './read/fields.ts';
import { DEFAULT_SIDECAR_SETTINGS } from './snapshot.ts';

/** The defaults of CONTRACTS, "Mesh settings". */
export const DEFAULT_MESH_SETTINGS: MeshSettings = {
  ...DEFAULT_SIDECAR_SETTINGS,
  mtlsMode: 'PERMISSIVE',
  leafTtlMs: 24 * 3_600_000,
  rootTtlMs: 87_600 * 3_600_000,
};

/** Renewed at half of its life, with time for two more attempts. */
const LEAF_TTL_MIN_MS = 30_000;
/** A century. */
const TTL_MAX_MS = 876_000 * 3_600_000;
const DETECTION_TIMEOUT_MAX_MS = 60_000;
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/;

/**
 * Reads `mesh.yaml`. A field that can't be used keeps its value of `lastGood` (the defaults at first) and is reported
 * with its path and line, as is every unknown field. An empty document gives the defaults. Never throws.
 */
export function parseMeshSettings(
  value: unknown,
  origin: ObjectOrigin,
  lastGood: MeshSettings = DEFAULT_MESH_SETTINGS,
): { settings: MeshSettings; problems: Problem[] } {
  const errors: FieldError[] = [];
  const settings = read(new Fields(value, [], errors), errors, lastGood);
  const problems = errors.map(({ path, message }): Problem => {
    const field = fieldName(path);
    return {
      severity: 'error',
      source: origin.source,
      line: origin.lineOf?.(path) ?? origin.line,
      ...(field === '' ? {} : { field }),
      message: field === '' ? `the settings ${message}` : `${field} ${message}`,
    };
  });
  return { settings, problems };
}

function read(root: Fields, errors: FieldError[], last: MeshSettings): MeshSettings {
  const base = DEFAULT_MESH_SETTINGS;
  // A field that is absent takes its default; one that is there and bad, or in a block that is, keeps the last good value.
  const isBroken = (block: Fields) =>
    errors.some(
      ({ path }) =>
        path.length <= block.path.length && path.every((part, index) => part === block.path[index]),
    );
  const pick = <T>(from: Fields, name: string, got: T | undefined, fallback: T, lastValue: T): T =>
    got ?? (from.has(name) || isBroken(from) ? lastValue : fallback);
  const mtls = root.object('mtls');
  const certificates = root.object('certificates');
  const outbound = root.object('outbound');
  const tracing = root.object('tracing');
  const detection = root.object('detection');
  const drain = root.object('drain');
  const leaf = certificates.durationMs('leafTtl', LEAF_TTL_MIN_MS, TTL_MAX_MS);
  let leafTtlMs = pick(certificates, 'leafTtl', leaf, base.leafTtlMs, last.leafTtlMs);
  let rootTtlMs = pick(
    certificates,
    'rootTtl',
    certificates.durationMs('rootTtl', LEAF_TTL_MIN_MS, TTL_MAX_MS),
    base.rootTtlMs,
    last.rootTtlMs,
  );
  if (leafTtlMs > rootTtlMs) {
    errors.push({
      path: ['certificates', 'leafTtl'],
      message: 'must not be longer than certificates.rootTtl',
    });
    leafTtlMs = last.leafTtlMs;
    rootTtlMs = last.rootTtlMs;
  }
  const settings: MeshSettings = {
    trustDomain: pick(
      root,
      'trustDomain',
      matching(root, 'trustDomain', TRUST_DOMAIN, 'lower-case letters, digits, dots, dashes and underscores'),
      base.trustDomain,
      last.trustDomain,
    ),
    mtlsMode: pick(
      mtls,
      'mode',
      mtls.choice('mode', ['STRICT', 'PERMISSIVE', 'DISABLE']),
      base.mtlsMode,
      last.mtlsMode,
    ),
    leafTtlMs,
    rootTtlMs,
    outboundUnknown: pick(
      outbound,
      'unknown',
      outbound.choice('unknown', ['ALLOW', 'DENY']),
      base.outboundUnknown,
      last.outboundUnknown,
    ),
    tracing: {
      samplingPercent: pick(
        tracing,
        'samplingPercent',
        tracing.number('samplingPercent', 0, 100),
        base.tracing.samplingPercent,
        last.tracing.samplingPercent,
      ),
      keepErrors: pick(
        tracing,
        'keepErrors',
        tracing.boolean('keepErrors'),
        base.tracing.keepErrors,
        last.tracing.keepErrors,
      ),
      keepSlowerThanMs: pick(
        tracing,
        'keepSlowerThan',
        tracing.durationMs('keepSlowerThan'),
        base.tracing.keepSlowerThanMs,
        last.tracing.keepSlowerThanMs,
      ),
      otlpEndpoint: pick(
        tracing,
        'otlpEndpoint',
        endpoint(tracing),
        base.tracing.otlpEndpoint,
        last.tracing.otlpEndpoint,
      ),
    },
    detectionTimeoutMs: pick(
      detection,
      'timeout',
      detection.durationMs('timeout', 1, DETECTION_TIMEOUT_MAX_MS),
      base.detectionTimeoutMs,
      last.detectionTimeoutMs,
    ),
    drainGraceMs: pick(drain, 'grace', drain.durationMs('grace'), base.drainGraceMs, last.drainGraceMs),
  };
  for (const part of [root, mtls, certificates, outbound, tracing, detection, drain]) part.finish();
  return settings;
}

function matching(from: Fields, name: string, pattern: RegExp, what: string): string | undefined {
  const text = from.string(name);
  if (text === undefined || pattern.test(text)) return text;
  return from.error([name], `must consist of ${what}`);
}

function endpoint(tracing: Fields): string | undefined {
  const text = tracing.string('otlpEndpoint');
  if (text === undefined || text === '') return text;
  const port = Number(HOST_PORT.exec(text)?.[2] ?? 0);
  if (port >= 1 && port <= 65_535) return text;
  return tracing.error(['otlpEndpoint'], 'must be host:port, or empty for the embedded store');
}
