/**
 * The bytes between heddle-cni and the agent. A request is "HCN1", the bytes of the variables, the bytes of the
 * configuration (32-bit little-endian numbers), `NAME=value` with a NUL behind each, the configuration. An answer is
 * "HCN1", the exit code, the bytes of the output, the output. cni/plugin/agent.h has the other side.
 */
import { CNI_CODES, CniError } from './handler.ts';

const MAGIC = Buffer.from('HCN1');
const FRAME_HEAD_BYTES = 12;
const variablesBytesMax = 64 * 1024;
const configurationBytesMax = 1024 * 1024;

export interface CniFrame {
  /** `CNI_*` variables. */
  readonly variables: ReadonlyMap<string, string>;
  readonly configuration: Buffer;
}

/** Bytes of the whole request that begins here; undefined: the head isn't there yet. Throws a `CniError`. */
export function frameLength(bytes: Buffer): number | undefined {
  if (bytes.length < FRAME_HEAD_BYTES) return undefined;
  if (!bytes.subarray(0, 4).equals(MAGIC))
    throw new CniError(
      CNI_CODES.ioFailure,
      'the call is not one of heddle-cni',
      'install the plugin that came with this agent',
    );
  const variables = bytes.readUInt32LE(4);
  const configuration = bytes.readUInt32LE(8);
  if (variables > variablesBytesMax)
    throw new CniError(
      CNI_CODES.invalidEnvironment,
      `the CNI_* variables are larger than ${variablesBytesMax} bytes`,
    );
  if (configuration > configurationBytesMax)
    throw new CniError(
      CNI_CODES.invalidConfig,
      `the network configuration is larger than ${configurationBytesMax} bytes`,
    );
  return FRAME_HEAD_BYTES + variables + configuration;
}

/** Reads one whole request. Throws a `CniError` where it isn't one. */
export function readFrame(bytes: Buffer): CniFrame {
  const length = frameLength(bytes);
  if (length === undefined || length !== bytes.length)
    throw new CniError(CNI_CODES.ioFailure, 'the call was cut off');
  const split = FRAME_HEAD_BYTES + bytes.readUInt32LE(4);
  const variables = new Map<string, string>();
  for (const entry of bytes.toString('utf8', FRAME_HEAD_BYTES, split).split('\0')) {
    const equals = entry.indexOf('=');
    // As a process sees its environment: of two values the first counts.
    if (equals > 0 && !variables.has(entry.slice(0, equals)))
      variables.set(entry.slice(0, equals), entry.slice(equals + 1));
  }
  return { variables, configuration: bytes.subarray(split) };
}

export function writeFrame(variables: Readonly<Record<string, string>>, configuration: string): Buffer {
  const first = Buffer.from(
    Object.entries(variables)
      .map(([name, value]) => `${name}=${value}\0`)
      .join(''),
  );
  const second = Buffer.from(configuration);
  return Buffer.concat([head(first.length, second.length), first, second]);
}

export function writeAnswer(exitCode: number, output: string): Buffer {
  const bytes = Buffer.from(output);
  return Buffer.concat([head(exitCode, bytes.length), bytes]);
}

function head(one: number, other: number): Buffer {
  const out = Buffer.alloc(FRAME_HEAD_BYTES);
  MAGIC.copy(out);
  out.writeUInt32LE(one, 4);
  out.writeUInt32LE(other, 8);
  return out;
}
