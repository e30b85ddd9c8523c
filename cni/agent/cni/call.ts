import { messageOf } from '../../../common/errors.ts';
import { isJsonObject, type JsonObject } from '../../../common/json.ts';
import type { HostPort } from '../local-pods.ts';
import { readArguments } from './arguments.ts';
import type { CniFrame } from './frame.ts';
import {
  CNI_CODES,
  type CniAttachment,
  type CniDns,
  CniError,
  type CniMode,
  type CniPod,
  type CniResult,
} from './handler.ts';
import { checkFields, readHostPorts } from './netconf.ts';
import {
  CNI_VERSIONS,
  type CniCommand,
  type CniVersion,
  isCniCommand,
  isCniVersion,
  NEWEST_CNI_VERSION,
  readDns,
  readResult,
  versionHas,
} from './versions.ts';

interface Common {
  readonly version: CniVersion;
  readonly network: string;
}

interface OfAttachment extends Common, CniAttachment {
  readonly mode: CniMode;
  readonly pod: CniPod | undefined;
}

/** A call that was read and found right, as the specification asks it of each command. */
export type CniCall =
  | (OfAttachment & {
      readonly command: 'ADD';
      readonly netns: string;
      readonly hostPorts: readonly HostPort[];
      readonly dns: CniDns | undefined;
      readonly prevResult: CniResult | undefined;
      /** `prevResult` as it came, to be passed on. */
      readonly rawPrevResult: JsonObject | undefined;
    })
  | (OfAttachment & { readonly command: 'CHECK'; readonly netns: string; readonly prevResult: CniResult })
  | (OfAttachment & { readonly command: 'DEL'; readonly netns: string | undefined })
  /** `valid` is undefined where the runtime gave no list: nothing is known to be stale then. */
  | (Common & { readonly command: 'GC'; readonly valid: readonly CniAttachment[] | undefined })
  | (Common & { readonly command: 'STATUS' })
  | { readonly command: 'VERSION'; readonly version: string };

const containerIdLengthMax = 200;
const interfaceLengthMax = 15;
const validAttachmentsMax = 16_384;
/** Specification, section 2, "Parameters". */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The version an error about this call should carry. */
export function versionOf(frame: CniFrame): CniVersion {
  try {
    const { cniVersion } = parseObject(frame.configuration);
    return isCniVersion(cniVersion) ? cniVersion : NEWEST_CNI_VERSION;
  } catch {
    return NEWEST_CNI_VERSION;
  }
}

/** Reads a call. Throws a `CniError` with the code that the specification has for what is wrong. */
export function readCall(frame: CniFrame): CniCall {
  const { variables } = frame;
  const command = variables.get('CNI_COMMAND') ?? '';
  if (!isCniCommand(command))
    throw environment('CNI_COMMAND', `must be one of ADD, DEL, CHECK, GC, STATUS, VERSION, not "${command}"`);
  if (command === 'VERSION') return readVersionCall(frame);
  const config = parseObject(frame.configuration);
  const common = readCommon(config, command);
  if (command === 'STATUS') {
    checkFields(config);
    return { ...common, command };
  }
  if (command === 'GC') return { ...common, command, valid: readValid(config) };
  const attachment = readAttachment(variables);
  const netns = variables.get('CNI_NETNS') ?? '';
  // What only DEL gets may be wrong in it: the pod is gone, and a refusal would keep what it had.
  if (command === 'DEL') {
    const mode = config.mode === 'capture' ? 'capture' : 'full';
    return {
      ...common,
      ...attachment,
      command,
      mode,
      pod: lenientPod(variables),
      netns: netns === '' ? undefined : netns,
    };
  }
  if (!netns.startsWith('/')) throw environment('CNI_NETNS', 'must be the path of a network namespace');
  checkFields(config);
  const mode = readMode(config);
  const { pod } = readArguments(variables.get('CNI_ARGS') ?? '');
  const rest = { ...common, ...attachment, mode, pod, netns };
  const prevResult = isAbsent(config.prevResult) ? undefined : readResult(config.prevResult);
  if (command === 'CHECK') {
    if (prevResult === undefined) throw missing('prevResult', 'CHECK compares with the result of the ADD');
    return { ...rest, command, prevResult };
  }
  return { ...rest, command, ...readAdd(config, mode, prevResult) };
}

function readAdd(config: JsonObject, mode: CniMode, prevResult: CniResult | undefined) {
  if (mode === 'capture' && prevResult === undefined)
    throw missing('prevResult', 'in mode capture Heddle stands behind the plugin that makes the interface');
  if (mode === 'full' && prevResult !== undefined)
    throw new CniError(
      CNI_CODES.invalidConfig,
      'Heddle makes the interface itself and must be the first plugin of the list',
      'to capture on top of another network set "mode": "capture"',
    );
  const raw = config.prevResult;
  return {
    prevResult,
    rawPrevResult: isJsonObject(raw) ? raw : undefined,
    hostPorts: readHostPorts(config.runtimeConfig),
    dns: isAbsent(config.dns) ? undefined : readDns(config.dns, 'dns'),
  };
}

function readVersionCall(frame: CniFrame): CniCall {
  const config = frame.configuration.length === 0 ? {} : parseObject(frame.configuration);
  const { cniVersion } = config;
  return { command: 'VERSION', version: typeof cniVersion === 'string' ? cniVersion : NEWEST_CNI_VERSION };
}

function readCommon(config: JsonObject, command: CniCommand): Common {
  const { cniVersion = '0.1.0', name } = config;
  if (typeof cniVersion !== 'string')
    throw new CniError(CNI_CODES.decodingFailure, 'cniVersion must be a string');
  if (!isCniVersion(cniVersion) || !versionHas(cniVersion, command))
    throw new CniError(
      CNI_CODES.incompatibleVersion,
      `cniVersion ${cniVersion} ${isCniVersion(cniVersion) ? `has no ${command}` : 'is not supported'}`,
      `supported are ${CNI_VERSIONS.join(', ')}; CHECK came with 0.4.0, GC and STATUS with 1.1.0`,
    );
  if (typeof name !== 'string' || !NAME.test(name))
    throw new CniError(
      CNI_CODES.invalidConfig,
      "the network's name must be letters, digits, '_', '.' and '-', and begin with a letter or digit",
      'key name of the network configuration',
    );
  return { version: cniVersion, network: name };
}

function readAttachment(variables: ReadonlyMap<string, string>): CniAttachment {
  const containerId = variables.get('CNI_CONTAINERID') ?? '';
  const ifname = variables.get('CNI_IFNAME') ?? '';
  if (!isContainerId(containerId))
    throw environment(
      'CNI_CONTAINERID',
      `must be 1 to ${containerIdLengthMax} letters, digits, '_', '.' and '-', and begin with a letter or digit`,
    );
  if (!isInterfaceName(ifname))
    throw environment(
      'CNI_IFNAME',
      `must be 1 to ${interfaceLengthMax} characters without '/', ':' and spaces`,
    );
  return { containerId, ifname };
}

function isContainerId(text: string): boolean {
  return text.length <= containerIdLengthMax && NAME.test(text);
}

/** As the kernel's dev_valid_name has it. */
function isInterfaceName(text: string): boolean {
  if (text === '' || text === '.' || text === '..' || Buffer.byteLength(text) > interfaceLengthMax)
    return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  return !/[/:\s\x00-\x1f\x7f]/.test(text);
}

function readMode(config: JsonObject): CniMode {
  const { mode } = config;
  if (mode === undefined || mode === null || mode === 'full') return 'full';
  if (mode === 'capture') return 'capture';
  throw new CniError(
    CNI_CODES.invalidConfig,
    `mode must be "full" or "capture", not ${JSON.stringify(mode)}`,
  );
}

/** libcni gives the list under both keys; Go writes an empty one as null. */
function readValid(config: JsonObject): readonly CniAttachment[] | undefined {
  const key = 'cni.dev/valid-attachments' in config ? 'cni.dev/valid-attachments' : 'cni.dev/attachments';
  const value = config[key];
  if (value === undefined) return undefined;
  if (value === null) return [];
  if (!Array.isArray(value) || value.length > validAttachmentsMax)
    throw new CniError(
      CNI_CODES.invalidConfig,
      `${key} must be a list of ${validAttachmentsMax} attachments at most`,
    );
  return value.map((one: unknown) => {
    if (!isJsonObject(one) || typeof one.containerID !== 'string' || typeof one.ifname !== 'string')
      throw new CniError(CNI_CODES.invalidConfig, `${key} must hold objects with containerID and ifname`);
    return { containerId: one.containerID, ifname: one.ifname };
  });
}

function lenientPod(variables: ReadonlyMap<string, string>): CniPod | undefined {
  try {
    return readArguments(variables.get('CNI_ARGS') ?? '').pod;
  } catch {
    return undefined;
  }
}

function parseObject(bytes: Buffer): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (thrown) {
    throw new CniError(CNI_CODES.decodingFailure, 'the network configuration is no JSON', messageOf(thrown));
  }
  if (!isJsonObject(value))
    throw new CniError(CNI_CODES.decodingFailure, 'the network configuration is no JSON object');
  return value;
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function environment(name: string, what: string): CniError {
  return new CniError(CNI_CODES.invalidEnvironment, `${name} ${what}`, 'the container runtime sets it');
}

function missing(key: string, why: string): CniError {
  return new CniError(CNI_CODES.invalidConfig, `the network configuration has no ${key}`, why);
}
