import { isIPv6 } from 'node:net';
import { isJsonObject, type JsonObject } from '../../../common/json.ts';
import {
  CNI_CODES,
  type CniDns,
  CniError,
  type CniInterface,
  type CniIp,
  type CniResult,
  type CniRoute,
} from './handler.ts';

export const CNI_VERSIONS = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];
export const NEWEST_CNI_VERSION: CniVersion = '1.1.0';

export const CNI_COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const;
export type CniCommand = (typeof CNI_COMMANDS)[number];

/** The version that brought a command; all others came with the first. */
const SINCE: Partial<Record<CniCommand, CniVersion>> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' };

export function isCniVersion(text: unknown): text is CniVersion {
  return CNI_VERSIONS.some((version) => version === text);
}

export function isCniCommand(text: string): text is CniCommand {
  return CNI_COMMANDS.some((command) => command === text);
}

export function versionHas(version: CniVersion, command: CniCommand): boolean {
  return CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(SINCE[command] ?? '0.3.1');
}

/**
 * A result in the shape of its version: `version` of an IP went with 1.0.0; `mtu` of an interface or a route came with
 * 1.1.0 (specification, section 5, of each version).
 */
export function writeResult(version: CniVersion, result: CniResult): JsonObject {
  const newest = version === '1.1.0';
  const hasFamily = version === '0.3.1' || version === '0.4.0';
  return {
    cniVersion: version,
    interfaces: result.interfaces.map(({ name, mac, mtu, sandbox }) => ({
      name,
      ...(mac === undefined ? {} : { mac }),
      ...(mtu === undefined || !newest ? {} : { mtu }),
      ...(sandbox === undefined ? {} : { sandbox }),
    })),
    ips: result.ips.map(({ address, gateway, interface: index }) => ({
      ...(hasFamily ? { version: isIPv6(address.split('/')[0] ?? '') ? '6' : '4' } : {}),
      address,
      ...(gateway === undefined ? {} : { gateway }),
      ...(index === undefined ? {} : { interface: index }),
    })),
    routes: result.routes.map(({ dst, gw, mtu }) => ({
      dst,
      ...(gw === undefined ? {} : { gw }),
      ...(mtu === undefined || !newest ? {} : { mtu }),
    })),
    ...(result.dns === undefined ? {} : { dns: { ...result.dns } }),
  };
}

/** Reads a `prevResult` of any supported version. Throws a `CniError` that names what is wrong. */
export function readResult(value: unknown): CniResult {
  if (!isJsonObject(value)) throw invalid('prevResult', 'an object');
  return {
    interfaces: list(value.interfaces, 'prevResult.interfaces').map(readInterface),
    ips: list(value.ips, 'prevResult.ips').map(readIp),
    routes: list(value.routes, 'prevResult.routes').map(readRoute),
    ...(value.dns === undefined ? {} : { dns: readDns(value.dns, 'prevResult.dns') }),
  };
}

export function readDns(value: unknown, where: string): CniDns {
  if (!isJsonObject(value)) throw invalid(where, 'an object');
  const texts = (key: string) =>
    value[key] === undefined
      ? {}
      : {
          [key]: list(value[key], `${where}.${key}`).map((one) => {
            if (typeof one !== 'string') throw invalid(`${where}.${key}`, 'a list of strings');
            return one;
          }),
        };
  return {
    ...texts('nameservers'),
    ...optionalText(value, 'domain', where),
    ...texts('search'),
    ...texts('options'),
  };
}

function readInterface(value: unknown): CniInterface {
  const where = 'prevResult.interfaces';
  if (!isJsonObject(value) || typeof value.name !== 'string') throw invalid(where, 'objects with a name');
  return {
    name: value.name,
    ...optionalText(value, 'mac', where),
    ...optionalNumber(value, 'mtu', where),
    ...optionalText(value, 'sandbox', where),
  };
}

function readIp(value: unknown): CniIp {
  const where = 'prevResult.ips';
  if (!isJsonObject(value) || typeof value.address !== 'string')
    throw invalid(where, 'objects with an address');
  return {
    address: value.address,
    ...optionalText(value, 'gateway', where),
    ...optionalNumber(value, 'interface', where),
  };
}

function readRoute(value: unknown): CniRoute {
  const where = 'prevResult.routes';
  if (!isJsonObject(value) || typeof value.dst !== 'string') throw invalid(where, 'objects with a dst');
  return {
    dst: value.dst,
    ...optionalText(value, 'gw', where),
    ...optionalNumber(value, 'mtu', where),
  };
}

/** Go writes an empty list as null. */
function list(value: unknown, where: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(where, 'a list');
  return value;
}

function optionalText<K extends string>(
  from: JsonObject,
  key: K,
  where: string,
): { readonly [P in K]?: string } {
  const value = from[key];
  if (value === undefined || value === null || value === '') return {};
  if (typeof value !== 'string') throw invalid(`${where}.${key}`, 'a string');
  return { [key]: value } as { readonly [P in K]: string };
}

function optionalNumber<K extends string>(
  from: JsonObject,
  key: K,
  where: string,
): { readonly [P in K]?: number } {
  const value = from[key];
  if (value === undefined || value === null) return {};
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw invalid(`${where}.${key}`, 'a number');
  return { [key]: value } as { readonly [P in K]: number };
}

function invalid(where: string, wanted: string): CniError {
  return new CniError(CNI_CODES.invalidConfig, `${where} must be ${wanted}`);
}
