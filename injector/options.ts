import { isIP } from 'node:net';
import { DEFAULT_TRUST_DOMAIN, PORTS } from '../common/contracts.ts';
import type { Result } from '../common/errors.ts';
import { readFlags, wrongUsage } from '../common/flags.ts';
import { isLogLevel, type LogLevel } from '../common/log.ts';
import type { SidecarOptions } from './patch/sidecar.ts';

export interface InjectorOptions {
  /** IP address. */
  readonly listen: string;
  /** 0: any free one. */
  readonly port: number;
  /** Of the injector's own service account, audience `heddle-ca`. Reread for each certificate. */
  readonly tokenFile: string;
  /** PEM bundle that the control plane is checked by. Reread for each certificate. */
  readonly rootFile: string;
  /** Written once there is a certificate: `{"webhook": PORT}`. */
  readonly portsFile: string | undefined;
  readonly revision: string;
  readonly sidecar: SidecarOptions;
  readonly logLevel: LogLevel;
}

const FLAGS = {
  listen: { type: 'string' },
  port: { type: 'string' },
  'control-plane': { type: 'string' },
  'trust-domain': { type: 'string' },
  'token-file': { type: 'string' },
  'root-file': { type: 'string' },
  'ports-file': { type: 'string' },
  capture: { type: 'string' },
  image: { type: 'string' },
  revision: { type: 'string' },
  'log-level': { type: 'string' },
  help: { type: 'boolean' },
} as const;

export const USAGE = `Usage: injector --control-plane HOST:PORT --token-file FILE --root-file FILE [options]

  --control-plane HOST:PORT  who signs certificates, for the injector and for the pods
  --token-file FILE          service-account token of heddle-injector, audience heddle-ca
  --root-file FILE           PEM roots of the mesh
  --trust-domain NAME        (default ${DEFAULT_TRUST_DOMAIN})
  --listen ADDRESS           IP address of the webhook (default 127.0.0.1)
  --port N                   port of the webhook (default ${PORTS.injector}); 0 takes a free one
  --ports-file FILE          written once there is a certificate: the port in use, as JSON
  --capture KIND             transparent, or http-proxy where apps choose their proxy (default transparent)
  --image IMAGE              image of the sidecar (default heddle-proxy)
  --revision NAME            written into injected pods (default default)
  --log-level LEVEL          debug, info, warn or error (default info)
`;

const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s/]+):([1-9]\d{0,4})$/;
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const REVISION = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const PORT = /^\d{1,5}$/;
const portMax = 65_535;

/** Reads the command line. `help` where it asks for help. */
export function parseOptions(args: readonly string[]): Result<InjectorOptions | 'help'> {
  const read = readFlags(args, FLAGS);
  if (!read.ok) return read;
  if (read.value === 'help') return { ok: true, value: 'help' };
  const values = read.value;
  const {
    'control-plane': controlPlane,
    'token-file': tokenFile,
    'root-file': rootFile,
    'trust-domain': trustDomain = DEFAULT_TRUST_DOMAIN,
    'log-level': logLevel = 'info',
    listen = '127.0.0.1',
    port = String(PORTS.injector),
    capture = 'transparent',
    image = 'heddle-proxy',
    revision = 'default',
  } = values;
  if (controlPlane === undefined) return wrongUsage('--control-plane is required');
  if (tokenFile === undefined) return wrongUsage('--token-file is required');
  if (rootFile === undefined) return wrongUsage('--root-file is required');
  if (Number(HOST_PORT.exec(controlPlane)?.[2] ?? portMax + 1) > portMax)
    return wrongUsage('--control-plane must be HOST:PORT');
  if (!TRUST_DOMAIN.test(trustDomain))
    return wrongUsage('--trust-domain must be a name of lower-case letters, digits and .-_');
  if (isIP(listen) === 0) return wrongUsage('--listen must be an IP address');
  if (!PORT.test(port) || Number(port) > portMax)
    return wrongUsage('--port must be a port number, or 0 for a free one');
  if (capture !== 'transparent' && capture !== 'http-proxy')
    return wrongUsage('--capture must be transparent or http-proxy');
  if (!/^\S{1,512}$/.test(image)) return wrongUsage('--image must be the name of an image');
  if (!REVISION.test(revision))
    return wrongUsage('--revision must be a name of lower-case letters, digits and dashes');
  if (!isLogLevel(logLevel)) return wrongUsage('--log-level must be debug, info, warn or error');
  return {
    ok: true,
    value: {
      ...{
        listen,
        port: Number(port),
        tokenFile,
        rootFile,
        portsFile: values['ports-file'],
        revision,
        logLevel,
      },
      sidecar: { image, controlPlane, trustDomain, capture },
    },
  };
}
