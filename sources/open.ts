import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { watchFiles } from './files/watch.ts';
import type { SourceOptions } from './flags.ts';
import { connectKubernetes, type KubernetesClient } from './kubernetes/client.ts';
import { type ClusterSource, type WatchedKind, watchCluster } from './kubernetes/watch.ts';
import type { ObjectSource, ObjectsState } from './source.ts';

/** Between lines that say what a start waits for. */
const WAITING_LOG_MS = 10_000;

export interface FollowDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** After each change that matters; the first state is in `current()` already. */
  onChange(state: ObjectsState): void;
}

/**
 * The objects of the folders or the API server that a command line names; of an API server only these kinds. Resolves once
 * they are whole, which takes as long as an API server can't be reached.
 */
export async function followObjects(
  { manifests, kubernetes }: SourceOptions,
  kinds: readonly WatchedKind[],
  deps: FollowDeps,
): Promise<ObjectSource> {
  if (kubernetes === undefined) return watchFiles({ directories: manifests, ...deps });
  const client = await connectKubernetes(kubernetes, deps.clock);
  try {
    const source = await followCluster(client, kinds, deps);
    return {
      current: () => source.current(),
      close() {
        source.close();
        client.close();
      },
    };
  } catch (thrown) {
    client.close();
    throw thrown;
  }
}

/** As `watchCluster`, once all kinds have been listed. What it waits for is logged. */
export async function followCluster(
  client: KubernetesClient,
  kinds: readonly WatchedKind[],
  deps: FollowDeps,
): Promise<ClusterSource> {
  const source = watchCluster({ client, kinds, ...deps });
  const waiting = deps.clock.every(WAITING_LOG_MS, () => {
    const left = source.kinds().filter(({ condition }) => condition !== 'listed' && condition !== 'absent');
    const why = left.find(({ message }) => message !== undefined)?.message;
    deps.log.warn('waiting until the API server has told of all objects', {
      ...{ kinds: left.map(({ kind }) => kind).join(' '), why },
    });
  });
  try {
    await source.synced;
    return source;
  } finally {
    waiting.cancel();
  }
}
