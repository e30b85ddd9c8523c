import { sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { readFolders, readManifests } from '../client/manifests.ts';
import { objectInForce, objectsInForce, type RunningMesh } from '../client/mesh.ts';
import { ANY_MESH_OPTIONS, kubectl, localMesh } from '../client/which.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { objectKey, resourceName } from '../kube/kinds.ts';
import { AppliedObjects } from '../local/applied.ts';
import { appliedFolder } from '../local/state-dir.ts';
import { problemLine } from '../output/problem.ts';
import { notFound, wantedOf } from './wanted.ts';

/** How long a deleted object may take to be gone. */
const goneMs = 10_000;
const pollMs = 50;

export const remove: CommandSpec = {
  name: 'delete',
  summary: 'take objects out of force',
  usage: 'delete (-f FILE | KIND NAME) [-n NAMESPACE]',
  description:
    "Takes objects out of force. One of the manifests' folder is hidden until it is applied again: the folder is never written.",
  examples: ['heddle delete httproute catalog -n shop', 'heddle delete -f route.yaml'],
  options: {
    ...ANY_MESH_OPTIONS,
    filename: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'FILE',
      help: 'delete what these files name',
    },
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'of the object (default "default")' },
  },
  positionalsMax: 2,
  run: runDelete,
};

async function runDelete(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const files = input.texts('filename');
  if (files.length > 0 === input.positionals.length > 0) throw usageError('give either -f FILE or KIND NAME');
  const mesh = localMesh(input, context, kubectl('delete', input));
  const inForce = new Map((await objectsInForce(mesh)).map((object) => [objectKey(object), object]));
  const targets =
    files.length > 0 ? await namedByFiles(files, input, context) : [namedObject(input, inForce)];
  if (targets === undefined) return EXIT.failed;
  const { objects: written } = await readFolders([mesh.file.manifests], context.clock);
  const inManifests = new Set(written.map(({ object }) => objectKey(object)));
  const applied = new AppliedObjects(appliedFolder(mesh.paths, mesh.file.manifests));
  const removed: KubeObject[] = [];
  for (const object of targets) {
    const key = objectKey(object);
    const refusal = inForce.has(key)
      ? refusalOf(inForce.get(key) ?? object, inManifests.has(key) || applied.has(object))
      : 'not found';
    if (refusal !== undefined) {
      context.err(`${resourceName(object)} ${refusal}\n`);
      continue;
    }
    applied.remove(object, inManifests.has(key));
    removed.push(object);
  }
  const startMs = context.clock.now();
  let gone = 0;
  for (const object of removed) {
    if (await goneWithin(mesh, context, object, startMs)) {
      context.out(`${resourceName(object)} deleted\n`);
      gone++;
    } else context.err(`${resourceName(object)} is still there after ${goneMs / 1_000} s\n`);
  }
  return gone === targets.length ? EXIT.done : EXIT.failed;
}

async function namedByFiles(
  files: readonly string[],
  input: CommandInput,
  context: CliContext,
): Promise<readonly KubeObject[] | undefined> {
  const { objects, problems } = await readManifests(files, context);
  for (const problem of problems) context.err(`${problemLine(problem, context.cwd)}\n`);
  if (problems.some((problem) => problem.severity === 'error')) {
    context.err('nothing was deleted\n');
    return undefined;
  }
  if (objects.length === 0) throw new HeddleError('empty', 'no objects in what was given');
  const namespace = input.text('namespace');
  return objects.map(({ object }) =>
    namespace === undefined || object.metadata.namespace !== 'default'
      ? object
      : { ...object, metadata: { ...object.metadata, namespace } },
  );
}

function namedObject(input: CommandInput, inForce: ReadonlyMap<string, KubeObject>): KubeObject {
  const { kinds, name } = wantedOf(input.positionals);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1 || name === undefined)
    throw usageError('name one object: KIND NAME');
  const namespace = input.text('namespace') ?? 'default';
  const found = [...inForce.values()].find(
    (object) =>
      object.kind === kind.kind &&
      object.metadata.name === name &&
      (!kind.namespaced || (object.metadata.namespace ?? 'default') === namespace),
  );
  if (found === undefined) throw notFound(kind, name, namespace, [...inForce.values()]);
  return found;
}

/** Why an object that is in force can't be deleted, or undefined. `given`: by the manifests or by `apply`. */
function refusalOf(object: KubeObject, given: boolean): string | undefined {
  if (object.kind === 'Namespace')
    return 'stays: the local mesh deletes no namespace with all its objects; delete those';
  if (Array.isArray(object.metadata.ownerReferences))
    return 'belongs to a controller, which would make it anew; delete or change its owner';
  return given ? undefined : 'is made by the local mesh itself; delete or change what it is made for';
}

/** Waits until the mesh no longer shows the object. */
async function goneWithin(
  mesh: RunningMesh,
  context: CliContext,
  object: KubeObject,
  startMs: number,
): Promise<boolean> {
  while ((await objectInForce(mesh, object)) !== undefined) {
    if (context.clock.now() - startMs > goneMs) return false;
    await sleep(context.clock, pollMs);
  }
  return true;
}
