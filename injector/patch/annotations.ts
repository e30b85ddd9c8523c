import { isIP } from 'node:net';
import { ANNOTATIONS, HEDDLE_GROUP, LABELS } from '../../common/contracts.ts';
import type { JsonObject } from '../../common/json.ts';
import { isLogLevel, type LogLevel } from '../../common/log.ts';
import { portList } from '../../model/read/meta.ts';
import { sidecarResources } from './resources.ts';
import { shutdownDelaySeconds } from './shutdown.ts';

/** What a pod's annotations say of its sidecar. */
export interface SidecarSettings {
  readonly resources: JsonObject;
  readonly logLevel: LogLevel | undefined;
  /** Percent of requests traced, as written. */
  readonly traceSampling: string | undefined;
  /** How long apps serve on once their pod is to end; 0: not at all. */
  readonly shutdownDelaySeconds: number;
}

export interface ReadSettings {
  readonly settings: SidecarSettings;
  /** Each names the annotation and what it must be. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

const PORT_LISTS: readonly string[] = [
  ANNOTATIONS.skipInboundPorts,
  ANNOTATIONS.skipOutboundPorts,
  ANNOTATIONS.opaquePorts,
];
/** A list of a few hundred ports or networks. */
export const annotationCharsMax = 4_096;
const KNOWN = new Set<string>(Object.values(ANNOTATIONS));

/** Reads the annotations of Heddle's own group. All of them are checked, also those that others act on. */
export function readSettings(all: ReadonlyMap<string, string>): ReadSettings {
  const long = [...KNOWN].filter((annotation) => (all.get(annotation)?.length ?? 0) > annotationCharsMax);
  const problems = long.map((one) => `the annotation ${one} may have ${annotationCharsMax} characters`);
  const annotations = new Map([...all].filter(([annotation]) => !long.includes(annotation)));
  const problem = (annotation: string, must: string) => {
    problems.push(`the annotation ${annotation} must be ${must}, not "${annotations.get(annotation) ?? ''}"`);
  };
  for (const annotation of PORT_LISTS)
    if (portList(annotations.get(annotation)).bad.length > 0)
      problem(annotation, 'ports or ranges with commas between, such as 8080,9000-9010');
  const cidrs = annotations.get(ANNOTATIONS.skipOutboundCidrs);
  if (cidrs !== undefined && !cidrs.split(',').every((one) => isCidr(one.trim())))
    problem(ANNOTATIONS.skipOutboundCidrs, 'CIDRs with commas between, such as 10.0.0.0/8,2001:db8::/32');
  const logLevel = annotations.get(ANNOTATIONS.logLevel);
  if (logLevel !== undefined && !isLogLevel(logLevel))
    problem(ANNOTATIONS.logLevel, 'debug, info, warn or error');
  const traceSampling = annotations.get(ANNOTATIONS.traceSampling);
  if (traceSampling !== undefined && !isPercentage(traceSampling))
    problem(ANNOTATIONS.traceSampling, 'a percentage from 0 to 100');
  const resources = sidecarResources(annotations, problem);
  const shutdownDelay = shutdownDelaySeconds(annotations, problem);
  return {
    settings: {
      resources,
      logLevel: logLevel !== undefined && isLogLevel(logLevel) ? logLevel : undefined,
      traceSampling,
      shutdownDelaySeconds: shutdownDelay,
    },
    problems,
    warnings: unknownAnnotations(annotations),
  };
}

function isPercentage(text: string): boolean {
  return /^\d{1,3}(\.\d{1,6})?$/.test(text) && Number(text) <= 100;
}

function isCidr(text: string): boolean {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const family = isIP(match?.[1] ?? '');
  return family !== 0 && Number(match?.[2]) <= (family === 4 ? 32 : 128);
}

function unknownAnnotations(annotations: ReadonlyMap<string, string>): string[] {
  const labels: readonly string[] = Object.values(LABELS);
  return [...annotations.keys()]
    .filter((key) => key.startsWith(`${HEDDLE_GROUP}/`) && !KNOWN.has(key))
    .map((key) =>
      labels.includes(key)
        ? `${key} is a label: as an annotation it has no effect`
        : `the annotation ${key} is not known and has no effect`,
    );
}
