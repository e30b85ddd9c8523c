import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { netnsGone } from '../kernel/netns.ts';
import { placeOf } from './attachments.ts';
import type { LocalPod, LocalPods } from './local-pods.ts';
import type { NodeGround } from './node-ground.ts';
import type { NodePrograms } from './programs/node-programs.ts';

export interface RecallDeps {
  readonly localPods: LocalPods;
  readonly programs: NodePrograms;
  readonly ground: NodeGround;
  readonly log: Logger;
}

/** Puts this agent's programs in the places of the last one's at every pod that stands, and takes away pins without a pod. */
export function recallPods({ localPods, programs, ground, log }: RecallDeps): void {
  const nodeNetns = ground.netns;
  for (const pod of localPods.all()) attach(pod);
  const known = new Set(localPods.all().map(({ podId }) => podId));
  for (const podId of programs.pinnedPods())
    if (!known.has(podId)) programs.detachPod({ podId, netns: '', nodeNetns, hostIfindex: 0 });

  function attach(pod: LocalPod): void {
    try {
      programs.attachPod(placeOf(pod, nodeNetns));
    } catch (thrown) {
      // Its DEL is still to come.
      const name = `${pod.namespace}/${pod.name}`;
      if (netnsGone(thrown)) log.info('a pod ended while no agent ran', { pod: name });
      else log.error('a pod of the last run can not be served', { pod: name, error: messageOf(thrown) });
    }
  }
}
