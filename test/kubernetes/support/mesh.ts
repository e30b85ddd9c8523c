import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../../common/errors.ts';
import { ADDRESSES, type NodeLayout } from '../cluster/layout.ts';
import { KubernetesCluster } from './cluster.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const IMAGES = join(ROOT, 'dist/images');
const REPOSITORY = 'localhost';
/** As scripts/lib/tiers.mjs has them built. */
const TAG = 'test';
const NAMES = ['heddle-proxy', 'heddle-control-plane', 'heddle-cni'];
const readyMs = 180_000;

/**
 * A cluster with Heddle on it, as an operator installs it: the Gateway API's definitions, then the chart. Nodes are Ready, and the
 * control plane and the injector serve. `values` are for the chart, as `helm --set` takes them; `more` are archives of further images.
 */
export async function startMeshedCluster(
  nodes: number,
  values: readonly string[] = [],
  more: readonly string[] = [],
): Promise<KubernetesCluster> {
  const cluster = await KubernetesCluster.start({ nodes, images: [...heddleImages(), ...more] });
  try {
    await cluster.kubectl(['apply', '--server-side', `--filename=${cluster.gatewayApiCrds}`]);
    await installChart(cluster, values);
    return cluster;
  } catch (thrown) {
    process.stderr.write(`logs of the cluster: ${await cluster.collectLogs()}\n`);
    await cluster.stop();
    throw thrown;
  }
}

/** Archives of Heddle's own images, as the tier has them built. Throws HeddleError `not-built` where one is missing. */
export function heddleImages(): readonly string[] {
  const own = NAMES.map((name) => join(IMAGES, `${name}.tar`));
  const missing = own.find((tar) => !existsSync(tar));
  if (missing !== undefined)
    throw new HeddleError('not-built', `there is no ${missing}: run npm run build:images -- --tag ${TAG}`);
  return own;
}

/** Installs the chart alone, and waits until nodes (all of the cluster's) are Ready and everything of it serves. */
export async function installChart(
  cluster: KubernetesCluster,
  values: readonly string[] = [],
  nodes: readonly NodeLayout[] = cluster.layout.nodes,
): Promise<void> {
  const set = [
    ...[`image.registry=${REPOSITORY}`, `image.tag=${TAG}`],
    ...[`apiServerHost=${cluster.layout.first.ip4}`, `apiServerPort=${ADDRESSES.apiServerPort}`],
    ...values,
  ];
  const chart = ['upgrade', '--install', 'heddle', join(ROOT, 'charts/heddle')];
  await cluster.helm([
    ...chart,
    ...['--namespace=heddle-system', '--create-namespace'],
    ...set.map((value) => `--set=${value}`),
  ]);
  const inSystem = { namespace: 'heddle-system', timeoutMs: readyMs };
  for (const { name } of nodes) await cluster.waitFor(`node/${name}`, 'condition=Ready', inSystem);
  for (const name of ['heddle-control-plane', 'heddle-injector'])
    await cluster.waitFor(`deployment/${name}`, 'condition=Available', inSystem);
  const agents = ['rollout', 'status', 'daemonset/heddle-cni', '--namespace=heddle-system'];
  await cluster.kubectl([...agents, `--timeout=${readyMs}ms`], { timeoutMs: readyMs * 2 });
}
