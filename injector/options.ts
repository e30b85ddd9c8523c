import { isIP } from 'node:net';
import { DEFAULT_TRUST_DOMAIN, PORTS } from '../common/contracts.ts';
import { parseDurationMs } from '../common/duration.ts';
import type { Result } from '../common/errors.ts';
import { readFlags, wrongUsage } from '../common/flags.ts';
import { isLogLevel, type LogLevel } from '../common/log.ts';
import {
  DEFAULT_SIDECAR_IMAGE,
  isHostPort,
  isImage,
  isPullPolicy,
  isSecretName,
  isTrustDomain,
  PULL_POLICIES,
  type SidecarOptions,
} from './patch/sidecar.ts';
import { DEFAULT_REVISION, isRevision, REVISION_FORM } from './patch/webhooks.ts';

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
  /** How long it serves on after a signal to end, so that nobody is sent to it any more by then. */
  readonly shutdownDelayMs: number;
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
  'image-pull-policy': { type: 'string' },
  'image-pull-secret': { type: 'string', multiple: true },
  'shutdown-delay': { type: 'string' },
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
  --image IMAGE              image of the sidecar (default ${DEFAULT_SIDECAR_IMAGE})
  --image-pull-policy KIND   Always, IfNotPresent or Never (Kubernetes' own choice by default)
  --image-pull-secret NAME   of the pods' own namespaces, added to each pod; may be given again
  --revision NAME            whose pods it takes, written into them (default ${DEFAULT_REVISION})
  --shutdown-delay DURATION  how long it serves on after SIGTERM, such as 3s (default 0s)
  --log-level LEVEL          debug, info, warn or error (default info)
`;

const PORT = /^\d{1,5}$/;
const portMax = 65_535;
export const shutdownDelayMaxMs = 60_000;

/** Reads the command line. `help` where it asks for help. */
export function parseOptions(args: readonly string[]): Result<InjectorOptions | 'help'> {
  const read = readFlags(args, FLAGS);
  if (!read.ok) return read;
  if (read.value === 'help') return { ok: true, value: 'help' };
  const values = read.value;
  const sidecar = readSidecar(values);
  if (!sidecar.ok) return sidecar;
  const {
    'token-file': tokenFile,
    'root-file': rootFile,
    'log-level': logLevel = 'info',
    listen = '127.0.0.1',
    port = String(PORTS.injector),
    revision = DEFAULT_REVISION,
  } = values;
  if (tokenFile === undefined) return wrongUsage('--token-file is required');
  if (rootFile === undefined) return wrongUsage('--root-file is required');
  if (isIP(listen) === 0) return wrongUsage('--listen must be an IP address');
  if (!PORT.test(port) || Number(port) > portMax)
    return wrongUsage('--port must be a port number, or 0 for a free one');
  if (!isRevision(revision)) return wrongUsage(`--revision must be ${REVISION_FORM}`);
  const shutdownDelayMs = parseDurationMs(values['shutdown-delay'] ?? '0s');
  if (shutdownDelayMs === undefined || shutdownDelayMs > shutdownDelayMaxMs)
    return wrongUsage('--shutdown-delay must be a duration of 1m at most, such as 3s');
  if (!isLogLevel(logLevel)) return wrongUsage('--log-level must be debug, info, warn or error');
  return {
    ok: true,
    value: {
      ...{ listen, port: Number(port), tokenFile, rootFile, portsFile: values['ports-file'] },
      ...{ revision, sidecar: sidecar.value, shutdownDelayMs, logLevel },
    },
  };
}

interface SidecarFlags {
  readonly 'control-plane'?: string | undefined;
  readonly 'trust-domain'?: string | undefined;
  readonly capture?: string | undefined;
  readonly image?: string | undefined;
  readonly 'image-pull-policy'?: string | undefined;
  readonly 'image-pull-secret'?: string[] | undefined;
}

function readSidecar(values: SidecarFlags): Result<SidecarOptions> {
  const {
    'control-plane': controlPlane,
    'trust-domain': trustDomain = DEFAULT_TRUST_DOMAIN,
    'image-pull-policy': imagePullPolicy,
    'image-pull-secret': imagePullSecrets = [],
    capture = 'transparent',
    image = DEFAULT_SIDECAR_IMAGE,
  } = values;
  if (controlPlane === undefined) return wrongUsage('--control-plane is required');
  if (!isHostPort(controlPlane)) return wrongUsage('--control-plane must be HOST:PORT');
  if (!isTrustDomain(trustDomain))
    return wrongUsage('--trust-domain must be a name of lower-case letters, digits and .-_');
  if (capture !== 'transparent' && capture !== 'http-proxy')
    return wrongUsage('--capture must be transparent or http-proxy');
  if (!isImage(image)) return wrongUsage('--image must be the name of an image');
  if (imagePullPolicy !== undefined && !isPullPolicy(imagePullPolicy))
    return wrongUsage(`--image-pull-policy must be ${PULL_POLICIES.join(', ')}`);
  if (!imagePullSecrets.every(isSecretName))
    return wrongUsage('--image-pull-secret must be the name of a Secret');
  return {
    ok: true,
    value: { image, imagePullPolicy, imagePullSecrets, controlPlane, trustDomain, capture },
  };
}
