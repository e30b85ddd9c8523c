import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { PORTS, SYSTEM_NAMESPACE } from '../common/contracts.ts';
import type { Result } from '../common/errors.ts';
import { readFlags, wrongUsage } from '../common/flags.ts';
import { isLogLevel, type LogLevel } from '../common/log.ts';
import { quantityBytes } from '../common/quantity.ts';
import { readSource, SOURCE_FLAGS, SOURCE_USAGE, type SourceOptions } from '../sources/flags.ts';

export interface ControlPlaneOptions extends SourceOptions {
  /** Where objects come from folders. */
  readonly settingsFile: string;
  /** Of Heddle's own objects on Kubernetes: settings, root, trust bundle. */
  readonly namespace: string;
  /** The Secret that holds the root on Kubernetes. */
  readonly caSecret: string;
  /** This replica's name on Kubernetes: its pod's. */
  readonly replica: string;
  /** Root key and certificate, trace store. */
  readonly stateDir: string;
  /** What the trace store may take of it. */
  readonly traceDiskBytesMax: number;
  /** IP address that every port binds to. */
  readonly listen: string;
  /** IP address of the dashboard alone. */
  readonly dashboardListen: string;
  readonly ports: ControlPlanePorts;
  /** PEM of the key that checks service-account tokens; without it no workload gets a certificate. */
  readonly tokenIssuerKeyFile: string | undefined;
  /** Admin sockets of node agents; empty without a pod network. */
  readonly nodeAgents: readonly string[];
  /** Written once everything listens: the ports in use, as JSON. */
  readonly portsFile: string | undefined;
  readonly logLevel: LogLevel;
}

/** 0: any free one. */
export interface ControlPlanePorts {
  readonly xds: number;
  readonly otlpGrpc: number;
  readonly otlpHttp: number;
  readonly dashboard: number;
  readonly metrics: number;
}

const DEFAULT_CA_SECRET = 'heddle-ca';
const DEFAULT_TRACE_DISK = '2Gi';
/** Room for the log in full flow, and some traces. */
const TRACE_DISK_MIN = '64Mi';
/** RFC 1123: names of Secrets and pods. */
const OBJECT_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

const FLAGS = {
  ...SOURCE_FLAGS,
  settings: { type: 'string' },
  namespace: { type: 'string' },
  'ca-secret': { type: 'string' },
  replica: { type: 'string' },
  'state-dir': { type: 'string' },
  'trace-store-size-limit': { type: 'string' },
  listen: { type: 'string' },
  'dashboard-listen': { type: 'string' },
  'xds-port': { type: 'string' },
  'otlp-grpc-port': { type: 'string' },
  'otlp-http-port': { type: 'string' },
  'dashboard-port': { type: 'string' },
  'metrics-port': { type: 'string' },
  'token-issuer-key': { type: 'string' },
  'node-agent': { type: 'string', multiple: true },
  'ports-file': { type: 'string' },
  'log-level': { type: 'string' },
  help: { type: 'boolean' },
} as const;

export const USAGE = `Usage: control-plane (--manifests DIR [--manifests DIR …] | --kubernetes) --state-dir DIR [options]

${SOURCE_USAGE}
  --namespace NAME        of Heddle's own objects on Kubernetes (default ${SYSTEM_NAMESPACE})
  --ca-secret NAME        holds the root on Kubernetes, made where there is none (default ${DEFAULT_CA_SECRET})
  --replica NAME          this replica's name on Kubernetes (default: the host's, which is the pod's)
  --state-dir DIR         keeps the traces, and the root key where there is no Kubernetes
  --trace-store-size-limit SIZE  of the disk, as Kubernetes writes it (default ${DEFAULT_TRACE_DISK}, at least ${TRACE_DISK_MIN}); the oldest traces go first
  --settings FILE         mesh settings (default: mesh.yaml in the first folder)
  --listen ADDRESS        IP address of every port (default 127.0.0.1)
  --dashboard-listen ADDRESS  IP address of the dashboard, where it is another
  --xds-port N            xDS and certificates (default ${PORTS.controlPlane}); 0 takes a free port, here and below
  --otlp-grpc-port N      OTLP over gRPC (default ${PORTS.otlpGrpc})
  --otlp-http-port N      OTLP over HTTP (default ${PORTS.otlpHttp})
  --dashboard-port N      dashboard and its API (default ${PORTS.dashboard})
  --metrics-port N        Prometheus metrics (default ${PORTS.controlPlaneMetrics})
  --token-issuer-key FILE public key (PEM, P-256) that checks service-account tokens
  --node-agent SOCKET     admin socket of a node's agent, for the packets that it drops; may be given again
  --ports-file FILE       written once everything listens: the ports in use, as JSON
  --log-level LEVEL       debug, info, warn or error (default info)
`;

/** Reads the command line. `help` where it asks for help. */
export function parseOptions(args: readonly string[]): Result<ControlPlaneOptions | 'help'> {
  const read = readFlags(args, FLAGS);
  if (!read.ok) return read;
  if (read.value === 'help') return { ok: true, value: 'help' };
  const values = read.value;
  const source = readSource(values);
  if (!source.ok) return source;
  const { namespace = SYSTEM_NAMESPACE } = values;
  if (!NAMESPACE.test(namespace)) return wrongUsage('--namespace must be the name of a namespace');
  const { 'ca-secret': caSecret = DEFAULT_CA_SECRET, replica = hostname().toLowerCase() } = values;
  if (!OBJECT_NAME.test(caSecret)) return wrongUsage('--ca-secret must be the name of a Secret');
  // Host names of machines may hold what no pod's name does.
  const named = source.value.kubernetes !== undefined || values.replica !== undefined;
  if (named && !OBJECT_NAME.test(replica)) return wrongUsage("--replica must be a pod's name");
  const stateDir = values['state-dir'];
  if (stateDir === undefined) return wrongUsage('--state-dir is required');
  if (stateDir === '') return wrongUsage('--state-dir must not be empty');
  const traceDiskBytesMax = Math.floor(quantityBytes(values['trace-store-size-limit'] ?? DEFAULT_TRACE_DISK));
  if (!(traceDiskBytesMax >= quantityBytes(TRACE_DISK_MIN)))
    return wrongUsage(`--trace-store-size-limit must be a size such as 2Gi, and at least ${TRACE_DISK_MIN}`);
  const listen = values.listen ?? '127.0.0.1';
  if (isIP(listen) === 0) return wrongUsage('--listen must be an IP address');
  const dashboardListen = values['dashboard-listen'] ?? listen;
  if (isIP(dashboardListen) === 0) return wrongUsage('--dashboard-listen must be an IP address');
  const logLevel = values['log-level'] ?? 'info';
  if (!isLogLevel(logLevel)) return wrongUsage('--log-level must be debug, info, warn or error');
  const bad: string[] = [];
  const port = (flag: `${string}-port` & keyof typeof values, fallback: number): number => {
    const text = values[flag];
    if (text === undefined) return fallback;
    if (typeof text === 'string' && /^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
    bad.push(`--${flag} must be a port number, or 0 for a free one`);
    return 0;
  };
  const ports = {
    xds: port('xds-port', PORTS.controlPlane),
    otlpGrpc: port('otlp-grpc-port', PORTS.otlpGrpc),
    otlpHttp: port('otlp-http-port', PORTS.otlpHttp),
    dashboard: port('dashboard-port', PORTS.dashboard),
    metrics: port('metrics-port', PORTS.controlPlaneMetrics),
  };
  if (bad.length > 0) return wrongUsage(bad.join('; '));
  return {
    ok: true,
    value: {
      ...source.value,
      settingsFile: values.settings ?? `${source.value.manifests[0] ?? ''}/mesh.yaml`,
      namespace,
      caSecret,
      replica,
      stateDir,
      traceDiskBytesMax,
      listen,
      dashboardListen,
      ports,
      tokenIssuerKeyFile: values['token-issuer-key'],
      nodeAgents: values['node-agent'] ?? [],
      portsFile: values['ports-file'],
      logLevel,
    },
  };
}
