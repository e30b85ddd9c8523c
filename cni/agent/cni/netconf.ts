import { isIP } from 'node:net';
import { isJsonObject, type JsonObject } from '../../../common/json.ts';
import type { HostPort } from '../local-pods.ts';
import { CNI_CODES, CniError } from './handler.ts';

/** Keys of a plugin's configuration that Heddle honours, or that are the runtime's and the specification's own. */
const KNOWN_KEYS: ReadonlySet<string> = new Set([
  ...[
    'cniVersion',
    'cniVersions',
    'name',
    'type',
    'capabilities',
    'runtimeConfig',
    'prevResult',
    'args',
    'dns',
  ],
  ...['disableCheck', 'disableGC', 'loadOnlyInlinedPlugins'],
  ...['agentSocket', 'mode'],
]);

const portMappingsMax = 1024;
const PROTOCOLS = { tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' } as const;
const ANY_ADDRESS: ReadonlySet<string> = new Set(['', '0.0.0.0', '::']);

/**
 * Refuses what would be ignored otherwise (code 2, with key and value as the specification asks): unknown keys, another
 * plugin for addresses, masquerade turned off, limits of bandwidth and other capabilities.
 */
export function checkFields(config: JsonObject): void {
  for (const [key, value] of Object.entries(config)) {
    if (KNOWN_KEYS.has(key) || key.startsWith('cni.dev/')) continue;
    // Go's reference types write an empty `ipam` for everybody.
    if (key === 'ipam' && isEmpty(value)) continue;
    // Heddle does it in any case.
    if (key === 'ipMasq' && value === true) continue;
    throw unsupported(key, value);
  }
  const { runtimeConfig } = config;
  if (runtimeConfig === undefined || runtimeConfig === null) return;
  if (!isJsonObject(runtimeConfig))
    throw new CniError(CNI_CODES.invalidConfig, 'runtimeConfig must be an object');
  for (const [key, value] of Object.entries(runtimeConfig)) {
    if (key === 'portMappings' || isEmpty(value)) continue;
    throw unsupported(`runtimeConfig.${key}`, value);
  }
}

/** `runtimeConfig.portMappings` (conventions of the CNI project, "Well-known Capabilities"). Throws a `CniError`. */
export function readHostPorts(runtimeConfig: unknown): readonly HostPort[] {
  const mappings = isJsonObject(runtimeConfig) ? runtimeConfig.portMappings : undefined;
  if (mappings === undefined || mappings === null) return [];
  if (!Array.isArray(mappings) || mappings.length > portMappingsMax)
    throw new CniError(
      CNI_CODES.invalidConfig,
      `runtimeConfig.portMappings must be a list of ${portMappingsMax} at most`,
    );
  // A port of the container that the host doesn't offer: some runtimes hand them over, too.
  return mappings.flatMap((mapping: unknown) => {
    if (!isJsonObject(mapping)) throw invalid(mapping);
    const fields = inLowerCase(mapping);
    return (fields.hostport ?? 0) === 0 ? [] : [readHostPort(mapping, fields)];
  });
}

/** containerd writes `HostPort`; Go's decoder, by which plugins read it elsewhere, takes keys in any case. */
function inLowerCase(mapping: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(mapping).map(([key, value]) => [key.toLowerCase(), value]));
}

function readHostPort(mapping: JsonObject, fields: JsonObject): HostPort {
  const { hostport: hostPort, containerport: containerPort, protocol = 'tcp', hostip: hostIP = '' } = fields;
  const name = String(protocol === '' ? 'tcp' : protocol).toLowerCase();
  if (!isPort(hostPort) || !isPort(containerPort) || !isProtocol(name)) throw invalid(mapping);
  if (typeof hostIP !== 'string' || (!ANY_ADDRESS.has(hostIP) && isIP(hostIP) === 0)) throw invalid(mapping);
  return {
    hostIp: ANY_ADDRESS.has(hostIP) ? undefined : hostIP,
    hostPort,
    containerPort,
    protocol: PROTOCOLS[name],
  };
}

function isProtocol(text: string): text is keyof typeof PROTOCOLS {
  return Object.hasOwn(PROTOCOLS, text);
}

function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

/** Null, zero, false, an empty text, or a list or object of nothing else: the runtime asks for nothing. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === 0 || value === '' || value === false) return true;
  return typeof value === 'object' && Object.values(value).every(isEmpty);
}

function unsupported(key: string, value: unknown): CniError {
  const shown = (JSON.stringify(value) ?? 'undefined').slice(0, 200);
  return new CniError(
    CNI_CODES.unsupportedField,
    `${key}: ${shown} is not supported by Heddle`,
    'take it out of the network configuration',
  );
}

function invalid(mapping: unknown): CniError {
  return new CniError(
    CNI_CODES.invalidConfig,
    `runtimeConfig.portMappings: ${(JSON.stringify(mapping) ?? '').slice(0, 200)} is no mapping`,
    'it takes hostPort and containerPort from 1 to 65535, protocol tcp, udp or sctp, and an IP address as hostIP',
  );
}
