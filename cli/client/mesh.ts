import { readdirSync, statSync } from 'node:fs';
import http from 'node:http';
import { dirname, join, resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { type Connect, connectionBy } from '../../common/drop-stream.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { CommandInput } from '../command-line.ts';
import type { CliContext } from '../context.ts';
import { listAt, textAt } from '../kube/fields.ts';
import { isSameProcess } from '../local/process-identity.ts';
import { type MeshFile, readMeshFile, type StatePaths, statePaths } from '../local/state-dir.ts';

/** Answers of the control plane larger than this are not read. */
const answerBytesMax = 64 * 1024 * 1024;
const requestMs = 15_000;

/** The control plane's HTTP API, however it is reached. */
export interface MeshApi {
  /** In messages, after "the control plane": `at http://127.0.0.1:15080`. */
  readonly where: string;
  /** Rejects where nobody answers. */
  ask(path: string, options: Pick<FetchOptions, 'body'>): Promise<FetchAnswer>;
}

/** A mesh that runs on this machine. */
export interface RunningMesh extends MeshApi {
  readonly kind: 'local';
  readonly file: MeshFile;
  readonly paths: StatePaths;
}

export function pathsOf(input: CommandInput, context: CliContext): StatePaths {
  const stateDir = input.text('state-dir');
  return statePaths(
    context.env,
    input.text('name') ?? 'default',
    stateDir === undefined ? undefined : resolve(context.cwd, stateDir),
  );
}

/** The mesh that runs for this name or state directory. Fails with code `unreachable` where none does. */
export function findMesh(input: CommandInput, context: CliContext): RunningMesh {
  const paths = pathsOf(input, context);
  const file = readMeshFile(paths);
  if (file === undefined) throw new HeddleError('unreachable', noMesh(paths, input));
  if (!isSameProcess(file.pid, file.startTime))
    throw new HeddleError(
      'unreachable',
      `the mesh of ${paths.root} crashed; "heddle up DIR" cleans up and starts it again, "heddle down" only cleans up`,
    );
  const { dashboard } = file;
  return {
    ...{ kind: 'local', file, paths, where: `at ${dashboard}` },
    async ask(path, options) {
      if (dashboard === '') throw new HeddleError('unreachable', 'the control plane is still starting');
      return fetchText(`${dashboard}${path}`, options);
    },
  };
}

function noMesh(paths: StatePaths, input: CommandInput): string {
  const name = input.text('name');
  const others = input.text('state-dir') === undefined ? otherMeshes(paths) : [];
  const which = name === undefined ? 'no mesh runs' : `no mesh "${name}" runs`;
  const hint =
    others.length === 0
      ? 'start one with "heddle up DIR"'
      : `running: ${others.join(', ')} (choose by --name)`;
  return `${which} (${paths.root}); ${hint}`;
}

/** Names of meshes that run for this user beside the one asked for. */
function otherMeshes(paths: StatePaths): readonly string[] {
  const home = dirname(paths.root);
  const names = statSync(home, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(home) : [];
  return names.filter((other) => {
    const file = readMeshFile({ meshFile: join(home, other, 'mesh.json') });
    return file !== undefined && isSameProcess(file.pid, file.startTime);
  });
}

/** Code of an answer that the asker has no right to. */
export const DENIED = 'api-denied';

/** Asks the control plane's HTTP API. Fails with code `unreachable`, or `api` or `api-denied` with what it said. */
export async function ask(mesh: MeshApi, path: string, body?: JsonValue): Promise<JsonValue> {
  let answer: FetchAnswer;
  try {
    answer = await mesh.ask(path, body === undefined ? {} : { body });
  } catch (thrown) {
    if (thrown instanceof HeddleError) throw thrown;
    throw new HeddleError(
      'unreachable',
      `the control plane ${mesh.where} doesn't answer: ${messageOf(thrown)}`,
    );
  }
  let parsed: JsonValue;
  try {
    parsed = JSON.parse(answer.text) as JsonValue;
  } catch {
    throw new HeddleError('api', `the control plane answered ${answer.status} without JSON`);
  }
  if (answer.status >= 400)
    throw new HeddleError(
      answer.status === 401 || answer.status === 403 ? DENIED : 'api',
      textAt(parsed, 'error') ?? textAt(parsed, 'message') ?? apiErrors(parsed, answer.status),
    );
  return parsed;
}

function apiErrors(parsed: JsonValue, status: number): string {
  const messages = listAt(parsed, 'errors').flatMap((entry) => textAt(entry, 'msg') ?? []);
  return messages.length === 0 ? `the control plane answered ${status}` : messages.join('; ');
}

/** The objects in force, as the control plane shows them. */
export async function objectsInForce(mesh: MeshApi): Promise<readonly KubeObject[]> {
  return listAt(await ask(mesh, '/api/heddle/objects'), 'items').flatMap((item) => asObject(item) ?? []);
}

/** The object of that kind, namespace and name as the control plane shows it now, or undefined. */
export async function objectInForce(mesh: MeshApi, object: KubeObject): Promise<KubeObject | undefined> {
  const { name, namespace } = object.metadata;
  const query = new URLSearchParams({
    kind: object.kind,
    name,
    ...(namespace === undefined ? {} : { namespace }),
  });
  const [found] = listAt(await ask(mesh, `/api/heddle/objects?${query}`), 'items');
  return found === undefined ? undefined : asObject(found);
}

function asObject(item: JsonValue): KubeObject | undefined {
  if (!isJsonObject(item) || !isJsonObject(item.metadata)) return undefined;
  const { apiVersion, kind, metadata } = item;
  const name = metadata.name;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || typeof name !== 'string')
    return undefined;
  return { ...item, apiVersion, kind, metadata: { ...(metadata as JsonObject), name } };
}

export interface FetchOptions {
  /** Makes it a POST of JSON. */
  readonly body?: JsonValue;
  readonly timeoutMs?: number;
  /** Of a Unix socket that the server listens on; the URL's host is for the headers then. */
  readonly socketPath?: string;
  /** Leads to the server already, or opens what does; the URL's host is for the headers then. */
  readonly connection?: Duplex | Connect;
}

export interface FetchAnswer {
  readonly status: number;
  readonly text: string;
}

/** One request over HTTP on a connection of its own. Rejects where nobody answers in time. */
export function fetchText(
  url: string,
  { body, timeoutMs = requestMs, socketPath, connection }: FetchOptions = {},
): Promise<FetchAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers =
    text === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  return new Promise((done, reject) => {
    const method = text === undefined ? 'GET' : 'POST';
    const late = AbortSignal.timeout(timeoutMs);
    const way =
      connection === undefined
        ? { agent: false, timeout: timeoutMs, socketPath }
        : typeof connection === 'function'
          ? connectionBy(connection, late)
          : { createConnection: () => connection, signal: late };
    const options = { method, headers, ...way };
    const noAnswer = new Error(`no answer within ${timeoutMs} ms`);
    const fail = (thrown: Error) => reject(connection !== undefined && late.aborted ? noAnswer : thrown);
    const call = http.request(url, options, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.byteLength;
        if (bytes > answerBytesMax) response.destroy(new Error(`an answer over ${answerBytesMax} bytes`));
        else chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('end', () =>
        done({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    call.on('timeout', () => call.destroy(noAnswer));
    call.on('error', fail);
    call.end(text);
  });
}
