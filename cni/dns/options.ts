import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { CLUSTER_DOMAIN } from '../../common/contracts.ts';
import { HeddleError, messageOf, type Result } from '../../common/errors.ts';
import { isLogLevel, type LogLevel } from '../../common/log.ts';
import { readSource, SOURCE_FLAGS, SOURCE_USAGE, type SourceOptions } from '../../sources/flags.ts';
import type { Upstream } from './forward/upstreams.ts';
import { isLabel } from './zone/service.ts';

export interface DnsOptions extends SourceOptions {
  readonly listen: readonly string[];
  /** 0: any free one, the same for all addresses and both transports. */
  readonly port: number;
  /** Undefined: no metrics and no health are served. 0: any free one. */
  readonly metricsPort: number | undefined;
  readonly metricsListen: string;
  /** Undefined: those of `resolvConf`. */
  readonly upstreams: readonly Upstream[] | undefined;
  readonly resolvConf: string;
  readonly clusterDomain: string;
  /** Written once questions are answered: `{"dns": PORT, "metrics": PORT}`. */
  readonly portsFile: string | undefined;
  readonly logLevel: LogLevel;
}

const FLAGS = {
  ...SOURCE_FLAGS,
  listen: { type: 'string', multiple: true },
  port: { type: 'string' },
  'metrics-port': { type: 'string' },
  'metrics-listen': { type: 'string' },
  upstream: { type: 'string', multiple: true },
  'resolv-conf': { type: 'string' },
  'cluster-domain': { type: 'string' },
  'ports-file': { type: 'string' },
  'log-level': { type: 'string' },
  help: { type: 'boolean' },
} as const;

const DEFAULT_LISTEN: readonly string[] = ['10.96.0.10', 'fd10:96::a'];
const DNS_PORT = 53;
const portMax = 65_535;

export const USAGE = `Usage: heddle-dns (--manifests DIR | --kubernetes) [options]

${SOURCE_USAGE}
  --listen ADDRESS        may be given again (default ${DEFAULT_LISTEN.join(', ')})
  --port N                UDP and TCP (default ${DNS_PORT}); 0 takes a free one
  --upstream ADDR[:PORT]  who is asked for other names; may be given again; [ADDR]:PORT for IPv6 (default: of --resolv-conf)
  --resolv-conf FILE      its nameservers are the upstreams (default /etc/resolv.conf)
  --cluster-domain NAME   (default ${CLUSTER_DOMAIN})
  --metrics-port N        /metrics, /healthz and /readyz over HTTP (default: not served); 0 takes a free one
  --metrics-listen ADDR   (default 127.0.0.1)
  --ports-file FILE       written once questions are answered: the ports in use, as JSON
  --log-level LEVEL       debug, info, warn or error (default info)
`;

/** Reads the command line. `help` where it asks for help. */
export function parseOptions(args: readonly string[]): Result<DnsOptions | 'help'> {
  try {
    const { values } = parseArgs({ args: [...args], options: FLAGS, strict: true, allowPositionals: false });
    if (values.help === true) return { ok: true, value: 'help' };
    const clusterDomain = (values['cluster-domain'] ?? CLUSTER_DOMAIN).toLowerCase();
    if (clusterDomain.length > 200 || !clusterDomain.split('.').every(isLabel))
      throw usage(`--cluster-domain ${clusterDomain} is no domain`);
    const logLevel = values['log-level'] ?? 'info';
    if (!isLogLevel(logLevel)) throw usage(`--log-level ${logLevel}: write debug, info, warn or error`);
    const source = readSource(values);
    if (!source.ok) return source;
    const metricsPort = values['metrics-port'];
    return {
      ok: true,
      value: {
        ...{ ...source.value, clusterDomain, logLevel, portsFile: values['ports-file'] },
        listen: (values.listen ?? DEFAULT_LISTEN).map((one) => ipOf('--listen', one)),
        port: portOf('--port', values.port ?? String(DNS_PORT)),
        metricsPort: metricsPort === undefined ? undefined : portOf('--metrics-port', metricsPort),
        metricsListen: ipOf('--metrics-listen', values['metrics-listen'] ?? '127.0.0.1'),
        upstreams: values.upstream?.map(upstreamOf),
        resolvConf: values['resolv-conf'] ?? '/etc/resolv.conf',
      },
    };
  } catch (thrown) {
    const error = thrown instanceof HeddleError ? thrown : usage(messageOf(thrown));
    return { ok: false, error };
  }
}

function usage(message: string): HeddleError {
  return new HeddleError('usage', message);
}

function ipOf(flag: string, text: string): string {
  if (isIP(text) === 0) throw usage(`${flag} ${text} is no IP address`);
  return text;
}

function portOf(flag: string, text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= portMax)) throw usage(`${flag} ${text} is no port`);
  return port;
}

function upstreamOf(text: string): Upstream {
  if (isIP(text) !== 0) return { address: text, port: DNS_PORT };
  const [, v6, v4, port = ''] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = v6 ?? v4 ?? '';
  if (isIP(address) === 0) throw usage(`--upstream ${text}: write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT`);
  return { address, port: portOf('--upstream', port === '' ? String(DNS_PORT) : port) };
}
