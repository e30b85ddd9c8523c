import { sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import { problemLine, readManifests } from '../client/manifests.ts';
import { ask, findMesh, objectsInForce, type RunningMesh } from '../client/mesh.ts';
import { type CommandInput, type CommandSpec, MESH_OPTIONS, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { listAt, numberAt, textAt } from '../kube/fields.ts';
import { groupOf, objectKey, resourceName } from '../kube/kinds.ts';
import { AppliedObjects } from '../local/applied.ts';
import { sameJson } from '../local/json-patch.ts';
import { conditionOf } from '../output/columns.ts';

/** How long the control plane may take to say what it makes of an object. */
const statusMs = 10_000;
const pollMs = 50;
/** Groups whose objects get a status from the mesh. */
const JUDGED_GROUPS = ['gateway.networking.k8s.io', 'heddle.dev'];

export const apply: CommandSpec = {
  name: 'apply',
  summary: 'put objects in force',
  usage: 'apply -f FILE|DIR|-',
  description:
    "Puts objects in force in the running mesh, over those of its manifests' folder, which is never written.\nWaits until the control plane says what it makes of them.",
  examples: ['heddle apply -f route.yaml', 'cat route.yaml | heddle apply -f -'],
  options: {
    ...MESH_OPTIONS,
    filename: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'FILE',
      help: 'file, folder, or - for standard input',
    },
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'for objects that name none' },
  },
  positionalsMax: 0,
  run: runApply,
};

async function runApply(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const files = input.texts('filename');
  if (files.length === 0) throw usageError('say what to apply: -f FILE');
  const { objects, problems } = await readManifests(files, context);
  for (const problem of problems) context.err(`${problemLine(problem)}\n`);
  if (problems.some((problem) => problem.severity === 'error')) {
    context.err('nothing was applied\n');
    return EXIT.failed;
  }
  if (objects.length === 0) throw new HeddleError('empty', 'no objects in what was given');
  const mesh = findMesh(input, context);
  const applied = new AppliedObjects(mesh.paths.applied);
  const before = new Map((await objectsInForce(mesh)).map((object) => [objectKey(object), object]));
  const placed = objects.map((sourced) => inNamespace(sourced, input.text('namespace')));
  const results = placed.map(({ object }) => applied.put(object, before.get(objectKey(object))));
  let failed = false;
  for (const [index, sourced] of placed.entries()) {
    context.out(`${resourceName(sourced.object)} ${results[index]}\n`);
    const refusal = await refusalOf(mesh, context, sourced.object);
    if (refusal === undefined) continue;
    failed = true;
    context.err(`${sourced.origin.source}:${sourced.origin.line}: ${refusal}\n`);
  }
  return failed ? EXIT.failed : EXIT.done;
}

function inNamespace(sourced: SourcedObject, namespace: string | undefined): SourcedObject {
  const { metadata } = sourced.object;
  // The parser gives `default` to what names no namespace; `-n` means those.
  if (namespace === undefined || metadata.namespace !== 'default') return sourced;
  return { ...sourced, object: { ...sourced.object, metadata: { ...metadata, namespace } } };
}

/** Waits until the object is in force and judged; why it isn't accepted, or undefined where all is well. */
async function refusalOf(
  mesh: RunningMesh,
  context: CliContext,
  object: KubeObject,
): Promise<string | undefined> {
  const endMs = context.clock.now() + statusMs;
  const query = new URLSearchParams({ kind: object.kind, name: object.metadata.name });
  if (object.metadata.namespace !== undefined) query.set('namespace', object.metadata.namespace);
  for (;;) {
    const [found] = listAt(await ask(mesh, `/api/heddle/objects?${query}`), 'items');
    const verdict = found === undefined || !isTaken(found, object) ? 'pending' : verdictOf(found, object);
    if (verdict !== 'pending') return verdict === 'accepted' ? undefined : verdict;
    if (context.clock.now() > endMs)
      return `${object.kind} ${object.metadata.name}: the control plane said nothing about it within ${statusMs / 1_000} s`;
    await sleep(context.clock, pollMs);
  }
}

/** Whether what the mesh has is what was applied; controllers may add fields to a Service or Deployment. */
function isTaken(found: JsonValue, object: KubeObject): boolean {
  if (!JUDGED_GROUPS.includes(groupOf(object.apiVersion))) return true;
  return typeof found === 'object' && found !== null && 'spec' in found && sameJson(found.spec, object.spec);
}

function verdictOf(found: JsonValue, object: KubeObject): string {
  if (!JUDGED_GROUPS.includes(groupOf(object.apiVersion))) return 'accepted';
  const shown: KubeObject = {
    ...object,
    status: typeof found === 'object' && found !== null && 'status' in found ? (found.status ?? null) : null,
  };
  const observed = numberAt(shown.status, 'observedGeneration');
  for (const type of ['Accepted', 'ResolvedRefs']) {
    const condition = conditionOf(shown, type);
    if (condition === undefined && type === 'Accepted' && observed === undefined) return 'pending';
    if (textAt(condition, 'status') === 'False')
      return `${object.kind} ${object.metadata.name}: ${type} is False (${textAt(condition, 'reason')}): ${textAt(condition, 'message')}`;
  }
  return 'accepted';
}
