import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { readManifests } from '../client/manifests.ts';
import { findMesh, objectsInForce } from '../client/mesh.ts';
import { type CommandInput, type CommandSpec, MESH_OPTIONS, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { objectKey, resourceName } from '../kube/kinds.ts';
import { AppliedObjects } from '../local/applied.ts';
import { wantedOf } from './get.ts';

export const remove: CommandSpec = {
  name: 'delete',
  summary: 'take objects out of force',
  usage: 'delete (-f FILE | KIND NAME) [-n NAMESPACE]',
  description:
    "Takes objects out of force. One of the manifests' folder is hidden until it is applied again: the folder is never written.",
  examples: ['heddle delete httproute catalog -n shop', 'heddle delete -f route.yaml'],
  options: {
    ...MESH_OPTIONS,
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
  const mesh = findMesh(input, context);
  const inForce = await objectsInForce(mesh);
  const targets =
    files.length > 0
      ? (await readManifests(files, context)).objects.map((sourced) => sourced.object)
      : [namedObject(input, inForce)];
  const known = new Set(inForce.map(objectKey));
  const inManifests = new Set(
    (await readManifests([mesh.file.manifests], context)).objects.map((o) => objectKey(o.object)),
  );
  const applied = new AppliedObjects(mesh.paths.applied);
  let missing = false;
  for (const object of targets) {
    if (!known.has(objectKey(object))) {
      context.err(`${resourceName(object)} not found\n`);
      missing = true;
      continue;
    }
    applied.remove(object, inManifests.has(objectKey(object)));
    context.out(`${resourceName(object)} deleted\n`);
  }
  return missing ? EXIT.failed : EXIT.done;
}

function namedObject(input: CommandInput, inForce: readonly KubeObject[]): KubeObject {
  const { kinds, name } = wantedOf(input.positionals);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1 || name === undefined)
    throw usageError('name one object: KIND NAME');
  const namespace = input.text('namespace') ?? 'default';
  const found = inForce.find(
    (object) =>
      object.kind === kind.kind &&
      object.metadata.name === name &&
      (!kind.namespaced || (object.metadata.namespace ?? 'default') === namespace),
  );
  if (found === undefined)
    throw new HeddleError('not-found', `${kind.plural} "${name}" not found in namespace ${namespace}`);
  const owned = Array.isArray(found.metadata['ownerReferences']);
  if (owned)
    throw new HeddleError(
      'owned',
      `${kind.singular} "${name}" belongs to a controller, which would make it anew; delete or change its owner`,
    );
  return found;
}
