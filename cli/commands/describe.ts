import { problemsOf } from '../check/gather.ts';
import { objectsInForce } from '../client/mesh.ts';
import { ANY_MESH_OPTIONS, type Mesh, withMesh } from '../client/which.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { type Kind, objectKey } from '../kube/kinds.ts';
import { describeObject } from '../output/description.ts';
import { problemLine } from '../output/problem.ts';
import { notFound, wantedOf } from './wanted.ts';

export const describe: CommandSpec = {
  name: 'describe',
  summary: 'show one object with what belongs to it',
  usage: 'describe KIND NAME [-n NAMESPACE]',
  description: 'Shows an object with its pods, endpoints, conditions and problems.',
  examples: ['heddle describe svc catalog -n shop', 'heddle describe httproute/catalog-canary -n shop'],
  options: {
    ...ANY_MESH_OPTIONS,
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'of the object (default "default")' },
  },
  positionalsMax: 2,
  run: runDescribe,
};

async function runDescribe(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const { kinds, name } = wantedOf(input.positionals);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1 || name === undefined)
    throw usageError('name one object: KIND NAME');
  return withMesh(input, context, (mesh) => describeOne({ mesh, kind, name }, input, context));
}

async function describeOne(
  { mesh, kind, name }: { readonly mesh: Mesh; readonly kind: Kind; readonly name: string },
  input: CommandInput,
  context: CliContext,
): Promise<ExitCode> {
  const namespace = input.text('namespace') ?? 'default';
  const objects = await objectsInForce(mesh);
  // The start of a pod's name will do, as for logs.
  const here = objects.filter(
    (object) =>
      object.kind === kind.kind &&
      (!kind.namespaced || (object.metadata.namespace ?? 'default') === namespace),
  );
  const object =
    here.find((one) => one.metadata.name === name) ??
    (kind.kind === 'Pod' ? here.find((one) => one.metadata.name.startsWith(`${name}-`)) : undefined);
  if (object === undefined) throw notFound(kind, name, namespace, objects);
  const { problems, origins } = await problemsOf(mesh, context);
  const subject = `${kind.kind} ${kind.namespaced ? `${namespace}/` : ''}${object.metadata.name}`;
  context.out(
    describeObject(object, {
      objects,
      origin: origins.get(objectKey(object)),
      problems: problems
        .filter((problem) => problem.object === subject)
        .map((problem) => problemLine(problem, context.cwd)),
    }),
  );
  return EXIT.done;
}
