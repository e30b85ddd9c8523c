import { isIPv4 } from 'node:net';
import { DEFAULT_TRUST_DOMAIN, PORTS } from '../common/contracts.ts';
import type { Result } from '../common/errors.ts';
import type { LogLevel } from '../common/log.ts';
import { type AppProbes, parseAppProbes } from './admin/app-probe-spec.ts';
import {
  type AppMetrics,
  anyText,
  appMetrics,
  type ContainerPort,
  concurrency,
  containerPorts,
  hostAndPort,
  ipAddress,
  ipAddresses,
  matching,
  oneOf,
  type Parse,
  percentage,
} from './bootstrap-values.ts';
import type { OutboundMode } from './listener/outbound.ts';
import type { LinkBootstrap } from './xds/control-plane-link.ts';

/** What a sidecar is told when it starts: CONTRACTS, "Sidecar bootstrap". */
export interface Bootstrap extends LinkBootstrap {
  /** `podIp` among them. */
  readonly podIps: readonly string[];
  readonly nodeName: string;
  readonly capture: OutboundMode;
  /** Loopback mode only. */
  readonly containerPorts: readonly ContainerPort[];
  /** host:port of the OTLP/gRPC collector that spans go to unless the mesh's settings name another. */
  readonly otlpEndpoint: string;
  readonly logLevel: LogLevel;
  /** The pod's own share of requests traced; undefined: the mesh's. */
  readonly traceSamplingPercent: number | undefined;
  /** What traces call this workload. */
  readonly serviceName: string;
  readonly appMetrics: AppMetrics | undefined;
  readonly appProbes: AppProbes;
  /** Variables that look like ours and mean nothing: misspelt, or of another version. */
  readonly unknown: readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

const PREFIX = 'HEDDLE_';
const DNS_NAME = matching(
  /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
  'a name of lower-case letters, digits, dashes and dots',
);
const NAMESPACE = matching(
  /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
  'a name of lower-case letters, digits and dashes',
);
const TRUST_DOMAIN = matching(
  /^[a-z0-9._-]{1,255}$/,
  'a name of lower-case letters, digits, dots, dashes and underscores',
);

/** Reads the environment whole: every problem is told, each naming its variable and what it must look like. */
export function readBootstrap(env: Environment): Result<Bootstrap, readonly string[]> {
  const reader = new Reader(env);
  const identity = readIdentity(reader);
  const capture = reader.optional('CAPTURE', oneOf<OutboundMode>('transparent', 'http-proxy'), 'transparent');
  const ports = reader.optional('CONTAINER_PORTS', containerPorts, []);
  if (capture === 'transparent' && ports.length > 0) {
    reader.problem(
      'CONTAINER_PORTS',
      'is for HEDDLE_CAPTURE=http-proxy only: captured pods keep their own ports',
    );
  }
  const podIps = reader.optional('POD_IPS', ipAddresses, [identity.podIp]);
  if (!podIps.includes(identity.podIp))
    reader.problem('POD_IPS', `must hold HEDDLE_POD_IP (${identity.podIp})`);
  reader.optional('CONCURRENCY', concurrency, 1);
  const bootstrap: Omit<Bootstrap, 'unknown'> = {
    ...identity,
    podIps,
    capture,
    containerPorts: ports,
    nodeName: reader.required('NODE_NAME', DNS_NAME),
    otlpEndpoint: reader.optional('OTLP_ENDPOINT', hostAndPort, besideControlPlane(identity.controlPlane)),
    logLevel: reader.optional('LOG_LEVEL', oneOf<LogLevel>('debug', 'info', 'warn', 'error'), 'info'),
    traceSamplingPercent: reader.optional<number | undefined>('TRACE_SAMPLING', percentage, undefined),
    serviceName: reader.optional('SERVICE_NAME', anyText, ownerName(identity.podName)),
    appMetrics: reader.optional<AppMetrics | undefined>('APP_PROMETHEUS', appMetrics, undefined),
    appProbes: reader.optional('APP_PROBES', parseAppProbes, new Map()),
  };
  if (reader.problems.length > 0) return { ok: false, error: reader.problems };
  return { ok: true, value: { ...bootstrap, unknown: reader.unread() } };
}

function readIdentity(reader: Reader): LinkBootstrap {
  return {
    controlPlane: reader.required('CONTROL_PLANE', hostAndPort),
    podName: reader.required('POD_NAME', DNS_NAME),
    podNamespace: reader.required('POD_NAMESPACE', NAMESPACE),
    podIp: reader.required('POD_IP', ipAddress),
    serviceAccount: reader.required('SERVICE_ACCOUNT', DNS_NAME),
    trustDomain: reader.optional('TRUST_DOMAIN', TRUST_DOMAIN, DEFAULT_TRUST_DOMAIN),
    tokenFile: reader.required('TOKEN_FILE', anyText),
    rootFile: reader.required('ROOT_FILE', anyText),
  };
}

/** Whether the pod shares one machine's loopback network with others: then 127.0.0.1 is everybody's. */
export function onSharedLoopback(podIp: string): boolean {
  return isIPv4(podIp) && podIp.startsWith('127.');
}

/** The embedded trace store listens where the control plane does. */
function besideControlPlane(controlPlane: string): string {
  return `${controlPlane.slice(0, controlPlane.lastIndexOf(':'))}:${PORTS.otlpGrpc}`;
}

/** Name, template hash, and a suffix of the letters that Kubernetes generates names of (no vowels, nor what looks like one). */
const OF_DEPLOYMENT = /^(.+)-[0-9a-z]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$/;

/** `catalog` for `catalog-6d4cf56db6-x7k2p`: what a Deployment's pods have in common. */
function ownerName(pod: string): string {
  return OF_DEPLOYMENT.exec(pod)?.[1] ?? pod;
}

class Reader {
  readonly problems: string[] = [];
  readonly #env: Environment;
  readonly #read = new Set<string>();

  constructor(env: Environment) {
    this.#env = env;
  }

  /** An empty text stands for a value that couldn't be had; `problems` then says why. */
  required(name: string, parse: Parse<string>): string {
    const text = this.#take(name);
    if (text !== undefined && text !== '') return this.#parse(name, text, parse, '');
    this.problem(name, 'is missing');
    return '';
  }

  /** A variable that is empty counts as absent: templates leave such behind. */
  optional<T>(name: string, parse: Parse<T>, fallback: T): T {
    const text = this.#take(name);
    return text === undefined || text === '' ? fallback : this.#parse(name, text, parse, fallback);
  }

  problem(name: string, what: string): void {
    this.problems.push(`${PREFIX}${name} ${what}`);
  }

  unread(): string[] {
    return Object.keys(this.#env).filter((name) => name.startsWith(PREFIX) && !this.#read.has(name));
  }

  #take(name: string): string | undefined {
    this.#read.add(`${PREFIX}${name}`);
    return this.#env[`${PREFIX}${name}`];
  }

  #parse<T>(name: string, text: string, parse: Parse<T>, fallback: T): T {
    const parsed = parse(text);
    if (parsed.ok) return parsed.value;
    this.problem(name, parsed.problem);
    return fallback;
  }
}
