import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { readIfThere } from '../../common/atomic-file.ts';
import { ANNOTATIONS, PORTS } from '../../common/contracts.ts';
import { messageOf } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject, Problem } from '../../model/objects.ts';
import { agentProblems, askStates, meshAgents } from '../client/agents.ts';
import { readFolders } from '../client/manifests.ts';
import { ask, fetchText, type MeshApi, objectsInForce, type RunningMesh } from '../client/mesh.ts';
import { settingsOf } from '../client/settings.ts';
import type { Mesh } from '../client/which.ts';
import type { CliContext } from '../context.ts';
import { listAt, numberAt, objectAt, textAt } from '../kube/fields.ts';
import { objectKey } from '../kube/kinds.ts';
import { manifestProblems } from '../local/manifest-problems.ts';
import { appliedFolder } from '../local/state-dir.ts';
import { shownPath } from '../output/problem.ts';
import { type Facts, podName, type SidecarAnswer, type SidecarView } from './findings.ts';
import type { RootCertificate } from './sidecars.ts';

/** A sidecar that hasn't answered by then is said not to. */
const sidecarMs = 2_000;
/** Sidecars asked at once. */
const asksMax = 16;

/** Reads everything that the checks need of a running mesh. Fails with code `unreachable` where it doesn't answer. */
export async function gatherFacts(mesh: RunningMesh, context: CliContext): Promise<Facts> {
  const objects = await objectsInForce(mesh);
  return {
    nowMs: context.clock.wallMs(),
    network: mesh.file.network,
    objects,
    ...(await gatherProblems(mesh, context)),
    sidecars: await sidecarViews(mesh),
    leafTtlSeconds: (await settingsOf(mesh)).leafTtlMs / 1_000,
    answers: await askSidecars(objects),
  };
}

/** What is wrong with files and objects, and where each object is written; only a mesh of this machine has files. */
export async function problemsOf(
  mesh: Mesh,
  context: CliContext,
): Promise<Pick<Facts, 'problems' | 'origins'>> {
  return mesh.kind === 'local' ? gatherProblems(mesh, context) : apiProblems(mesh);
}

/** What the control plane says is wrong. */
export async function apiProblems(mesh: MeshApi): Promise<Pick<Facts, 'problems' | 'origins'>> {
  const told = listAt(await ask(mesh, '/api/heddle/problems'), 'items');
  return { problems: told.map(problemOf), origins: new Map() };
}

async function gatherProblems(
  mesh: RunningMesh,
  context: CliContext,
): Promise<Pick<Facts, 'problems' | 'origins' | 'agents'>> {
  const { problems: told } = await apiProblems(mesh);
  const agents = await askStates(meshAgents(mesh.file));
  const files = await readFolders(
    [mesh.file.manifests, appliedFolder(mesh.paths, mesh.file.manifests)],
    context.clock,
  );
  const shown = (path: string) => shownPath(path, context.cwd);
  const problems = [...told, ...manifestProblems(files.objects, mesh.file.network), ...agentProblems(agents)];
  return {
    agents,
    problems: distinct(problems.map((problem) => ({ ...problem, source: shown(problem.source) }))),
    origins: new Map(
      files.objects.map(({ object, origin }) => [
        objectKey(object),
        `${shown(origin.source)}:${origin.line}`,
      ]),
    ),
  };
}

/** The mesh's root as the control plane wrote it, or undefined. */
export function readRoot(mesh: RunningMesh): RootCertificate | undefined {
  const pem = readIfThere(join(mesh.paths.controlPlane, 'root.pem'));
  if (pem === undefined) return undefined;
  return { notAfterMs: Date.parse(new X509Certificate(pem).validTo) };
}

function problemOf(item: JsonValue): Problem {
  const object = textAt(item, 'object');
  const field = textAt(item, 'field');
  return {
    severity: textAt(item, 'severity') === 'warning' ? 'warning' : 'error',
    source: textAt(item, 'source') ?? '',
    line: numberAt(item, 'line') ?? 1,
    ...(object === undefined ? {} : { object }),
    ...(field === undefined ? {} : { field }),
    message: textAt(item, 'message') ?? '',
  };
}

/** The control plane and the local runner read the same files: what both say is said once. */
export function distinct(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Set<string>();
  return problems.filter((problem) => {
    const key = `${problem.source}:${problem.line}:${problem.message}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** The sidecars that are connected to the control plane that answers. */
export async function sidecarViews(mesh: MeshApi): Promise<readonly SidecarView[]> {
  return listAt(await ask(mesh, '/api/heddle/proxies'), 'items').map(sidecarOf);
}

function sidecarOf(proxy: JsonValue): SidecarView {
  const pending = Object.values(objectAt(proxy, 'pending')).reduce<number>(
    (sum, count) => sum + (typeof count === 'number' ? count : 0),
    0,
  );
  const type = textAt(proxy, 'lastNack', 'type');
  const resource = textAt(proxy, 'lastNack', 'resource');
  const message = textAt(proxy, 'lastNack', 'message');
  const subject = [type, resource].filter((part) => part !== undefined).join(' ');
  return {
    pod: textAt(proxy, 'pod') ?? '',
    pending,
    nack: message === undefined ? undefined : `${subject}: ${message}`,
  };
}

async function askSidecars(objects: readonly KubeObject[]): Promise<ReadonlyMap<string, SidecarAnswer>> {
  const meshed = objects.filter(
    (object) =>
      object.kind === 'Pod' &&
      object.metadata.annotations?.[ANNOTATIONS.injected] !== undefined &&
      textAt(object.status, 'phase') === 'Running',
  );
  const answers = new Map<string, SidecarAnswer>();
  for (let start = 0; start < meshed.length; start += asksMax)
    await Promise.all(
      meshed
        .slice(start, start + asksMax)
        .map(async (pod) => answers.set(podName(pod), await askSidecar(textAt(pod.status, 'podIP') ?? ''))),
    );
  return answers;
}

async function askSidecar(ip: string): Promise<SidecarAnswer> {
  const url = `http://${ip}:${PORTS.proxyMetrics}/metrics`;
  try {
    const { status, text } = await fetchText(url, { timeoutMs: sidecarMs });
    if (status !== 200) return { certificateSeconds: undefined, error: `${url} answered ${status}` };
    const seconds = /^heddle_certificate_expiry_seconds(?:\{[^}]*\})? (\S+)/m.exec(text)?.[1];
    return { certificateSeconds: seconds === undefined ? undefined : Number(seconds), error: undefined };
  } catch (thrown) {
    return { certificateSeconds: undefined, error: `${url}: ${messageOf(thrown)}` };
  }
}
