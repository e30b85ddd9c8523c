import { ANNOTATIONS } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { DEFAULT_REVISION } from '../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../model/objects.ts';
import { type ClusterMesh, openClusterMesh, replicasOf } from '../client/cluster-mesh.ts';
import { accessText, asUnreachable, type KubeAccess } from '../client/kubernetes.ts';
import { ask, DENIED, type MeshApi, objectsInForce } from '../client/mesh.ts';
import { settingsOf } from '../client/settings.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { listAt, textAt } from '../kube/fields.ts';
import { heddleVersion } from '../version.ts';
import { type AgentsSeen, lookAtAgents } from './cluster-agents.ts';
import { gatherInstallation } from './cluster-facts.ts';
import type { Facts, Finding, SidecarAnswer, SidecarView } from './findings.ts';
import { apiProblems, distinct, sidecarViews } from './gather.ts';
import { checkInstallation } from './installation.ts';
import { checkObjects } from './objects.ts';
import { checkSidecars } from './sidecars.ts';

/** Sidecars asked at once for their certificates. */
const asksMax = 8;
/** More sidecars than this aren't asked one by one: the first ones are, and it is said. */
const certificateAsksMax = 200;

/** What was found, and the exit code that it asks for where it isn't in the findings. */
export interface Inspection {
  readonly findings: readonly Finding[];
  readonly code: ExitCode;
}

/** `heddle check` of a mesh on Kubernetes: Heddle's own parts by the API server, the rest as the control plane knows it. */
export async function inspectCluster(access: KubeAccess, context: CliContext): Promise<Inspection> {
  const mesh = await openClusterMesh(access, context);
  try {
    return await inspectMesh(mesh, context);
  } finally {
    mesh.close();
  }
}

/** The same of an open mesh. Fails with code `unreachable` where the API server can't be asked. */
async function inspectMesh(mesh: ClusterMesh, context: CliContext): Promise<Inspection> {
  const nowMs = context.clock.wallMs();
  const about: Finding = { level: 'note', about: 'mesh', message: `Kubernetes, ${accessText(mesh.access)}` };
  let pods: readonly KubeObject[];
  let own: readonly Finding[];
  // One of many nodes that doesn't answer takes its time: what the API server says is read meanwhile.
  const looking = lookAtAgents(mesh, context);
  try {
    const facts = await gatherInstallation(mesh.client, nowMs, heddleVersion());
    pods = (facts.pods ?? []).filter(isOfThisMesh);
    own = [about, ...checkInstallation(facts)];
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
  const agents = await looking;
  own = [...own, ...agents.findings];
  try {
    const findings = await inspectApi(mesh, { pods, agents, nowMs });
    return { findings: [...own, ...findings.map(withKubectl)], code: EXIT.done };
  } catch (thrown) {
    if (!(thrown instanceof HeddleError) || thrown.code !== 'unreachable') throw thrown;
    const finding: Finding = { level: 'problem', about: 'control plane', message: messageOf(thrown) };
    const { problems } = agents;
    const objects = checkObjects({ problems, objects: [], origins: new Map() });
    return { findings: [...own, finding, ...objects], code: EXIT.unreachable };
  }
}

/** Sidecars of other revisions are connected to control planes of their own, which aren't asked. */
function isOfThisMesh({ metadata: { annotations = {} } }: KubeObject): boolean {
  return (annotations[ANNOTATIONS.injected] ?? DEFAULT_REVISION) === DEFAULT_REVISION;
}

interface Seen {
  readonly pods: readonly KubeObject[];
  readonly agents: AgentsSeen;
  readonly nowMs: number;
}

async function inspectApi(mesh: ClusterMesh, { pods, agents, nowMs }: Seen): Promise<readonly Finding[]> {
  const sidecars = await allSidecars(mesh);
  const { answers, unasked } = await certificatesOf(mesh, sidecars, nowMs);
  const told = await apiProblems(mesh);
  const facts: Facts = {
    ...{ nowMs, network: 'ebpf', sidecars, answers, agents: [] },
    // Pods as the API server has them: their conditions may be newer than the control plane's.
    objects: [...(await objectsInForce(mesh)).filter(({ kind }) => kind !== 'Pod'), ...pods],
    ...{ problems: distinct([...told.problems, ...agents.problems]), origins: told.origins },
    leafTtlSeconds: (await settingsOf(mesh)).leafTtlMs / 1_000,
  };
  return [...checkSidecars(facts), ...unasked, ...checkObjects(facts)];
}

/** Of all replicas: each knows the sidecars that are connected to it. */
async function allSidecars(mesh: ClusterMesh): Promise<readonly SidecarView[]> {
  const views = await Promise.all((await replicasOf(mesh)).map(sidecarViews));
  return views.flat();
}

interface Certificates {
  readonly answers: ReadonlyMap<string, SidecarAnswer>;
  readonly unasked: readonly Finding[];
}

/** Asks sidecars for their certificates, through the control plane. */
export async function certificatesOf(
  mesh: MeshApi,
  sidecars: readonly Pick<SidecarView, 'pod'>[],
  nowMs: number,
): Promise<Certificates> {
  const answers = new Map<string, SidecarAnswer>();
  const asked = sidecars.slice(0, certificateAsksMax);
  const denied = new Set<string>();
  for (let start = 0; start < asked.length; start += asksMax)
    await Promise.all(
      asked.slice(start, start + asksMax).map(async ({ pod }) => {
        const answer = await certificateOf(mesh, pod, nowMs);
        if (answer === undefined) denied.add(pod);
        else answers.set(pod, answer);
      }),
    );
  const notes: string[] = [];
  if (asked.length < sidecars.length)
    notes.push(
      `${sidecars.length - asked.length} of ${sidecars.length} sidecars were not asked for their certificates`,
    );
  if (denied.size > 0)
    notes.push(
      `certificates of ${denied.size} sidecars were not looked at: with controlPlane.dashboardListen the dashboard wants a token for that`,
    );
  return { answers, unasked: notes.map((message) => ({ level: 'note', about: 'sidecars', message })) };
}

/** Undefined where the asker may not see it. */
async function certificateOf(mesh: MeshApi, pod: string, nowMs: number): Promise<SidecarAnswer | undefined> {
  try {
    const [leaf] = listAt(await ask(mesh, `/proxies/${pod}/certs`), 'chain');
    const endMs = Date.parse(textAt(leaf, 'validTo') ?? '');
    const certificateSeconds = Number.isNaN(endMs) ? undefined : (endMs - nowMs) / 1_000;
    return { certificateSeconds, error: undefined };
  } catch (thrown) {
    if (thrown instanceof HeddleError && thrown.code === DENIED) return undefined;
    return { certificateSeconds: undefined, error: messageOf(thrown) };
  }
}

/** Remedies of the local mesh's checks, in the words of a cluster. */
function withKubectl(finding: Finding): Finding {
  if (finding.remedy === undefined) return finding;
  const remedy = finding.remedy
    .replaceAll(
      'heddle logs control-plane -n heddle-system',
      'kubectl logs deployment/heddle-control-plane -n heddle-system',
    )
    .replaceAll(/heddle (logs|get) /g, 'kubectl $1 ')
    .replaceAll('heddle apply shows', 'kubectl describe shows');
  return { ...finding, remedy };
}
