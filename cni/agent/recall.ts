import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { netnsCookie, netnsGone } from '../kernel/netns.ts';
import { placeOf } from './attachments.ts';
import type { LocalPod, LocalPods } from './local-pods.ts';
import type { NodeGround } from './node-ground.ts';
import type { NodePrograms } from './programs/node-programs.ts';

/** Finds pods that ended without their DEL, as all do when a machine starts anew: nothing may stand for them any more. */
export function retireGonePods(localPods: LocalPods, log: Logger): void {
  for (const pod of localPods.standing())
    if (!stands(pod) && localPods.retire(pod))
      log.info('a pod ended, and its DEL is still to come', { pod: `${pod.namespace}/${pod.name}` });
}

/** A path may have come to another namespace meanwhile. */
function stands({ netns, netnsCookie: cookie }: LocalPod): boolean {
  try {
    return String(netnsCookie(netns)) === cookie;
  } catch (thrown) {
    if (netnsGone(thrown)) return false;
    throw thrown;
  }
}

export interface RecallDeps {
  readonly localPods: LocalPods;
  readonly programs: NodePrograms;
  readonly ground: NodeGround;
  readonly log: Logger;
}

/** Puts this agent's programs in the places of the last one's at every pod that stands, and takes away pins without a pod. */
export function recallPods({ localPods, programs, ground, log }: RecallDeps): void {
  const nodeNetns = ground.netns;
  for (const pod of localPods.standing()) {
    try {
      programs.attachPod(placeOf(pod, nodeNetns));
    } catch (thrown) {
      const name = `${pod.namespace}/${pod.name}`;
      log.error('a pod of the last run can not be served', { pod: name, error: messageOf(thrown) });
    }
  }
  const known = new Set(localPods.standing().map(({ podId }) => podId));
  for (const podId of programs.pinnedPods())
    if (!known.has(podId)) programs.detachPod({ podId, netns: '', nodeNetns, hostIfindex: 0 });
}
