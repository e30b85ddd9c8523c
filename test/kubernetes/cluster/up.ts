import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HeddleError } from '../../../common/errors.ts';
import { eventually } from '../../support/wait.ts';
import { apiGet } from './api.ts';
import { startRelay } from './api-relay.ts';
import { type BuiltParts, buildPart, needParts } from './build.ts';
import { kubeconfigOf, makeCertificates, USERS } from './certificates.ts';
import { cgroup2Folder, type Hierarchy, hierarchiesIn, hierarchyProblem, makeCgroups } from './cgroups.ts';
import { removeForgotten } from './down.ts';
import { ADDRESSES, type ClusterLayout, type NodeLayout, ownerFile, sizeFile } from './layout.ts';
import { makeNetwork } from './network.ts';
import { importImages, startNode } from './node.ts';
import { IMAGES } from './parts.ts';
import { controlPlanePrograms, workerPrograms } from './programs.ts';

const answersMs = 120_000;
const nodesRegisterMs = 120_000;

export interface UpOptions {
  readonly built: BuiltParts;
  /** Archives of images that every node gets, beside those of the cache. */
  readonly images: readonly string[];
  /** PID of a process without which nobody would need the cluster: a later `up` removes it once that has ended. */
  readonly owner?: number;
  readonly report: (line: string) => void;
}

/**
 * Brings a cluster up: the API server answers, its controllers work, and all nodes have registered. They stay NotReady until a CNI
 * plugin comes. Throws HeddleError `standing` where something of that name is there already; what failed half-way is left for
 * `down`, with its logs.
 */
export async function up(cluster: ClusterLayout, options: UpOptions): Promise<void> {
  const hierarchies = hierarchiesIn(readFileSync('/proc/self/mountinfo', 'utf8'));
  checkMachine(cluster, hierarchies, options);
  const started = performance.now();
  const report = (what: string) =>
    options.report(`${((performance.now() - started) / 1000).toFixed(1)} s  ${what}`);
  await removeForgotten();
  if (mkdirSync(cluster.directory, { recursive: true }) === undefined)
    throw new HeddleError(
      'standing',
      `the cluster ${cluster.name} stands, or what is left of it: run down first`,
    );
  if (options.owner !== undefined) writeFileSync(ownerFile(cluster), String(options.owner));
  writeFileSync(sizeFile(cluster), String(cluster.nodes.length));
  makeCertificates(cluster);
  makeNetwork(cluster);
  await startNode(cluster, cluster.first, setupOf(cluster, cluster.first, hierarchies, options));
  const port = await startApiRelay(cluster, hierarchies);
  await Promise.all(
    cluster.nodes
      .slice(1)
      .map((node) => startNode(cluster, node, setupOf(cluster, node, hierarchies, options))),
  );
  report('the nodes stand');
  await waitForApiServer(cluster, port);
  report(`the API server answers: KUBECONFIG=${cluster.kubeconfig}`);
  await waitForNodes(cluster, port);
  if (cluster.nodes.length === 0) return;
  const archives = [...cachedImages(options.built), ...options.images];
  await Promise.all(cluster.nodes.map((node) => importImages(node, archives)));
  report(`${cluster.nodes.length} nodes are registered, and have their images`);
}

function checkMachine(
  cluster: ClusterLayout,
  hierarchies: readonly Hierarchy[],
  { built, images }: UpOptions,
): void {
  if (process.getuid?.() !== 0) throw new HeddleError('usage', 'a cluster needs root: it makes namespaces');
  const problem = hierarchyProblem(hierarchies);
  if (problem !== undefined) throw new HeddleError('cgroups', problem);
  needParts(built, ['kubernetes', 'etcd']);
  if (cluster.nodes.length > 0) needImages(built);
  const gone = images.find((tar) => !existsSync(tar));
  if (gone !== undefined) throw new HeddleError('usage', `there is no archive ${gone}`);
}

/** A changed recipe costs a second, which is no reason to stop. */
function needImages(built: BuiltParts): void {
  needParts(built, ['debian', 'echo', 'conformance']);
  buildPart('images', built);
}

function cachedImages({ folders }: BuiltParts): readonly string[] {
  return ['pause', 'tool', 'echo-advanced'].map((name) => join(folders.images, `${name}.tar`));
}

function setupOf(
  cluster: ClusterLayout,
  node: NodeLayout,
  hierarchies: readonly Hierarchy[],
  { built: { cache, folders } }: UpOptions,
) {
  const binaries = {
    kubernetes: join(folders.kubernetes, 'kubernetes'),
    etcd: join(folders.etcd, 'etcd'),
  };
  const isFirst = node.number === cluster.first.number;
  const isWorker = cluster.nodes.some(({ number }) => number === node.number);
  const server = `https://${cluster.first.ip4}:${ADDRESSES.apiServerPort}`;
  const users = [...(isFirst ? Object.keys(USERS) : []), ...(isWorker ? [node.name] : [])];
  return {
    ...{ hierarchies, cache, pause: IMAGES.pause },
    programs: [
      ...(isFirst ? controlPlanePrograms(cluster, binaries) : []),
      ...(isWorker ? workerPrograms(node, binaries) : []),
    ],
    kubeconfigs: Object.fromEntries(users.map((user) => [user, kubeconfigOf(cluster.pki, user, server)])),
    path: ['usr/bin', 'usr/sbin'].map((folder) => join(folders.debian, folder)),
  };
}

async function startApiRelay(cluster: ClusterLayout, hierarchies: readonly Hierarchy[]): Promise<number> {
  const path = `${cluster.prefix}/relay`;
  makeCgroups(
    hierarchies.filter(({ kind }) => kind === 'cgroup2'),
    path,
  );
  const target = { host: cluster.first.ip4, port: ADDRESSES.apiServerPort };
  const port = await startRelay({
    ...{
      netns: cluster.first.netns,
      cgroup: cgroup2Folder(hierarchies, path),
      log: cluster.relayLog,
      ...target,
    },
  });
  const inside = `https://${target.host}:${target.port}`;
  writeFileSync(cluster.kubeconfigInside, kubeconfigOf(cluster.pki, 'admin', inside), { mode: 0o600 });
  writeFileSync(cluster.kubeconfig, kubeconfigOf(cluster.pki, 'admin', `https://127.0.0.1:${port}`), {
    mode: 0o600,
  });
  return port;
}

/** It is of use once its controllers work: without them no namespace has a ServiceAccount. */
async function waitForApiServer({ pki, first }: ClusterLayout, port: number): Promise<void> {
  for (const path of [
    '/readyz',
    '/api/v1/namespaces/default/serviceaccounts/default',
    '/api/v1/namespaces/default/configmaps/kube-root-ca.crt',
  ])
    await eventually(async () => (await apiGet(pki, port, path))?.status === 200, {
      ...{ deadlineMs: answersMs, what: `the API server has ${path}; see the logs in ${first.home}/log` },
    });
}

async function waitForNodes({ pki, nodes }: ClusterLayout, port: number): Promise<void> {
  for (const { name, home } of nodes)
    await eventually(async () => (await apiGet(pki, port, `/api/v1/nodes/${name}`))?.status === 200, {
      ...{ deadlineMs: nodesRegisterMs, what: `${name} has registered; see the logs in ${home}/log` },
    });
}
