import { objectsOf, recordOf, textOf } from '../../../model/read/meta.ts';
import type { KubernetesCluster } from './cluster.ts';

/** The name of a pod that a selector finds and that isn't about to end; empty where there is none. */
export async function podOf(
  cluster: KubernetesCluster,
  namespace: string,
  selector: string,
): Promise<string> {
  const { items } = await cluster.get(['pods', `--namespace=${namespace}`, `--selector=${selector}`]);
  const [pod] = objectsOf(items).filter(({ metadata }) => recordOf(metadata).deletionTimestamp === undefined);
  return textOf(recordOf(pod?.metadata).name) ?? '';
}
