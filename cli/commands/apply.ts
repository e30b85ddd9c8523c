import { sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import type { ObjectProblem } from '../../common/pod-network.ts';
import { type KubeObject, namespacedName, type Problem, type SourcedObject } from '../../model/objects.ts';
import { type AgentAnswer, agentProblems, askStates, meshAgents } from '../client/agents.ts';
import { readManifests } from '../client/manifests.ts';
import { objectInForce, objectsInForce, pathsOf, type RunningMesh } from '../client/mesh.ts';
import { type Verdict, verdictOf } from '../client/verdict.ts';
import { ANY_MESH_OPTIONS, kubectl, localMesh, refuseCluster } from '../client/which.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { objectKey, resourceName } from '../kube/kinds.ts';
import { AppliedObjects } from '../local/applied.ts';
import { kindProblem } from '../local/manifest-problems.ts';
import { appliedFolder, readMeshFile } from '../local/state-dir.ts';
import type { NetworkKind } from '../network/pod-network.ts';
import { problemLine, problemText, shownPath } from '../output/problem.ts';

/** How long the control plane may take to say what it makes of an object. */
const statusMs = 10_000;
/** How long proxies may take to acknowledge it before the command says so and goes. */
const spreadMs = 3_000;
const pollMs = 50;
/** How long nodes' agents may take to see an object. */
const agentsMs = 3_000;
const agentPollMs = 100;
/** What agents judge, and the control plane doesn't. */
const AGENT_KINDS: readonly string[] = ['NetworkPolicy', 'Service'];

export const apply: CommandSpec = {
  name: 'apply',
  summary: 'put objects in force',
  usage: 'apply -f FILE|DIR|-',
  description:
    "Puts objects in force in the running mesh, over those of its manifests' folder, which is never written.\nWaits until the control plane says what it makes of them, and the proxies that use them have them.",
  examples: ['heddle apply -f route.yaml', 'cat route.yaml | heddle apply -f -'],
  options: {
    ...ANY_MESH_OPTIONS,
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
  refuseCluster(input, kubectl('apply', input));
  const { objects, problems } = await readManifests(files, context);
  // Slips are told also where no mesh runs.
  const network = readMeshFile(pathsOf(input, context))?.network ?? 'loopback';
  const faults = [...problems, ...objects.flatMap((one) => unfit(one, input.text('namespace'), network))];
  for (const problem of faults) context.err(`${problemLine(problem, context.cwd)}\n`);
  if (faults.some((problem) => problem.severity === 'error')) {
    context.err('nothing was applied\n');
    return EXIT.failed;
  }
  if (objects.length === 0) throw new HeddleError('empty', 'no objects in what was given');
  const mesh = localMesh(input, context, kubectl('apply', input));
  const applied = new AppliedObjects(appliedFolder(mesh.paths, mesh.file.manifests));
  const before = new Map((await objectsInForce(mesh)).map((object) => [objectKey(object), object]));
  const placed = objects.map((sourced) => inNamespace(sourced, input.text('namespace')));
  const nowMs = context.clock.wallMs();
  const results = placed.map(({ object }) => applied.put(object, before.get(objectKey(object)), nowMs));
  const startMs = context.clock.now();
  let failed = false;
  for (const [index, sourced] of placed.entries()) {
    context.out(`${resourceName(sourced.object)} ${results[index]}\n`);
    const where = `${shownPath(sourced.origin.source, context.cwd)}:${sourced.origin.line}`;
    if (kindProblem(sourced.object, mesh.file.network) !== undefined) continue;
    const verdict = await verdictWithin(mesh, context, sourced.object, startMs);
    const told = tell(verdict, sourced.object);
    if (told !== undefined) context.err(`${where}: ${told}\n`);
    if (verdict.kind === 'refused' || verdict.kind === 'pending') failed = true;
  }
  const isNew = results.some((result) => result !== 'unchanged');
  for (const { origin, problem } of await agentRefusals(mesh, context, placed, isNew ? nowMs : 0)) {
    const where = `${shownPath(origin.source, context.cwd)}:${origin.line}`;
    context.err(`${where}: ${problem.object ?? ''}: ${problemText(problem)}\n`);
    failed = true;
  }
  return failed ? EXIT.failed : EXIT.done;
}

/** Why an object can't be applied, or has no effect: kubectl refuses slips and other namespaces, too. */
function unfit(
  { object, origin }: SourcedObject,
  namespace: string | undefined,
  network: NetworkKind,
): readonly Problem[] {
  const { source, line } = origin;
  const base = { source, line, object: `${object.kind} ${object.metadata.name}` };
  const kind = kindProblem(object, network);
  const own = object.metadata.namespace;
  const elsewhere = namespace !== undefined && own !== undefined && ![namespace, 'default'].includes(own);
  const message = `is of namespace ${own}, not ${namespace}: leave out -n, or change the file`;
  return [
    ...(kind === undefined ? [] : [{ ...base, ...kind }]),
    ...(elsewhere ? [{ ...base, severity: 'error' as const, message }] : []),
  ];
}

function inNamespace(sourced: SourcedObject, namespace: string | undefined): SourcedObject {
  const { metadata } = sourced.object;
  // The parser gives `default` to what names no namespace; `-n` means those.
  if (namespace === undefined || metadata.namespace !== 'default') return sourced;
  return { ...sourced, object: { ...sourced.object, metadata: { ...metadata, namespace } } };
}

/** Waits until the object is in force, judged and spread, as long as that may take. */
async function verdictWithin(
  mesh: RunningMesh,
  context: CliContext,
  object: KubeObject,
  startMs: number,
): Promise<Verdict> {
  for (;;) {
    const verdict = verdictOf(await objectInForce(mesh, object), object);
    const waitedMs = context.clock.now() - startMs;
    if (verdict.kind === 'accepted' || verdict.kind === 'refused') return verdict;
    if (waitedMs > (verdict.kind === 'spreading' ? spreadMs : statusMs)) return verdict;
    await sleep(context.clock, pollMs);
  }
}

/** What nodes' agents can't use of the NetworkPolicies and Services among the objects, once they have seen them. */
async function agentRefusals(
  mesh: RunningMesh,
  context: CliContext,
  placed: readonly SourcedObject[],
  appliedMs: number,
): Promise<readonly { readonly origin: SourcedObject['origin']; readonly problem: ObjectProblem }[]> {
  const agents = meshAgents(mesh.file);
  const origins = new Map(
    placed
      .filter(({ object }) => AGENT_KINDS.includes(object.kind))
      .map(({ object, origin }) => [`${object.kind} ${namespacedName(object)}`, origin]),
  );
  if (agents.length === 0 || origins.size === 0) return [];
  const untilMs = context.clock.now() + agentsMs;
  for (;;) {
    const answers = await askStates(agents);
    if (answers.every((answer) => hasSeen(answer, appliedMs)) || context.clock.now() > untilMs)
      return agentProblems(answers).flatMap((problem) => {
        const origin = origins.get(problem.object ?? '');
        return origin === undefined || problem.severity !== 'error' ? [] : [{ origin, problem }];
      });
    await sleep(context.clock, agentPollMs);
  }
}

/** Whether an agent has begun a round since. */
function hasSeen(answer: AgentAnswer, sinceMs: number): boolean {
  const round = 'status' in answer ? answer.status.lastRound : undefined;
  return round !== undefined && Date.parse(round.at) - round.seconds * 1_000 > sinceMs;
}

/** What to say about a verdict that isn't simply good. */
function tell(verdict: Verdict, object: KubeObject): string | undefined {
  const subject = `${object.kind} ${object.metadata.name}`;
  switch (verdict.kind) {
    case 'accepted':
      return undefined;
    case 'refused':
      return `${subject}: ${verdict.message}`;
    case 'spreading':
      return `${subject} is accepted, but after ${spreadMs / 1_000} s ${verdict.message}; "heddle check" says which`;
    case 'pending':
      return `${subject}: the control plane said nothing about it within ${statusMs / 1_000} s`;
    default:
      return verdict satisfies never;
  }
}
