import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Problem } from '../../model/objects.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { bundleFingerprint, type Peer } from '../status/replicas.ts';
import { type ClusterApi, failureOf } from './api.ts';
import type { RootFollower } from './root-follower.ts';
import { type BundleSpread, rotationStep } from './rotation.ts';

export interface RotationDutyOptions {
  readonly api: ClusterApi;
  readonly clock: Clock;
  readonly log: Logger;
  readonly root: RootFollower;
}

export interface RotationRound {
  readonly peers: readonly Peer[];
  readonly bundlePem: string;
  /** Of this replica's own proxies, those that don't hold the bundle yet. */
  readonly bundleWaiting: readonly string[];
  readonly objectsBehind: readonly string[];
  readonly leafTtlMs: number;
}

/** Takes a rotation's steps when they are due, and says what they wait for. */
export class RotationDuty {
  readonly #options: RotationDutyOptions;
  /** The bundle that everybody has been seen to trust, and since when. */
  #spread: { readonly bundle: string; readonly sinceMs: number } | undefined;
  #waiting: string | undefined;

  constructor(options: RotationDutyOptions) {
    this.#options = options;
  }

  problems(): readonly Problem[] {
    const { ref } = this.#options.root;
    if (this.#waiting === undefined) return [];
    const object = `Secret ${ref.namespace}/${ref.name}`;
    return [{ severity: 'warning', source: 'kubernetes', line: 0, object, message: this.#waiting }];
  }

  async round(round: RotationRound): Promise<void> {
    const { api, clock, log, root } = this.#options;
    const spread = spreadOf(round);
    const step = rotationStep({
      ...{ root: root.current(), spread, spreadSinceMs: this.#since(round.bundlePem, spread) },
      ...{ nowMs: clock.now(), wallMs: clock.wallMs(), leafTtlMs: round.leafTtlMs },
    });
    this.#waiting = step.kind === 'wait' ? step.message : undefined;
    if (step.kind !== 'write') return;
    try {
      await api.patch(KINDS.secret, root.ref, { type: 'merge', body: step.patch });
      log.info(step.what, { secret: `${root.ref.namespace}/${root.ref.name}` });
    } catch (thrown) {
      // Somebody else wrote it: what stands there by now is looked at first.
      if (failureOf(thrown) !== 'conflict') throw thrown;
    }
    await root.look();
  }

  /** From the first moment on: proxies that come later get the bundle with their first answer. */
  #since(bundle: string, { replicasBehind, proxiesBehind, objectsBehind }: BundleSpread): number | undefined {
    const everybody = replicasBehind.length === 0 && proxiesBehind === 0 && objectsBehind.length === 0;
    if (this.#spread?.bundle !== bundle) {
      this.#spread = everybody ? { bundle, sinceMs: this.#options.clock.now() } : undefined;
    }
    return this.#spread?.sinceMs;
  }
}

function spreadOf({ peers, bundlePem, bundleWaiting, objectsBehind }: RotationRound): BundleSpread {
  const bundle = bundleFingerprint(bundlePem);
  const told = peers.flatMap(({ report }) => (report === undefined ? [] : [report]));
  return {
    replicasBehind: peers.filter(({ report }) => report?.bundle !== bundle).map(({ name }) => name),
    proxiesBehind: told.reduce((sum, report) => sum + report.bundleWaiting, bundleWaiting.length),
    podsBehind: [...bundleWaiting, ...told.flatMap(({ bundleWaitingPods }) => bundleWaitingPods)],
    objectsBehind,
  };
}
