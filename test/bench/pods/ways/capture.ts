import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runIn } from '../../../support/network/commands.ts';
import { addPod, type HeddlePod, SIDECAR_UID, startContainerOfSidecar } from '../heddle-cluster.ts';
import { redirectRules } from '../iptables-rules.ts';
import type { Stage } from '../stage.ts';
import type { Way } from '../way.ts';
import { bodyOf, PORT } from './pods.ts';

const OUTBOUND = 15001;
const INBOUND = 15006;

/**
 * What it costs to bring a connection to the sidecar's listener, which answers by itself: another program behind it would hide
 * that. All of it is in one cluster of Heddle's, so that only the way to the listener differs.
 */
export async function waysOfCapture(stage: Stage): Promise<readonly Way[]> {
  const cluster = await stage.heddle(1);
  const client = await addPod(cluster, 'client');
  const direct = await addPod(cluster, 'direct');
  stage.programs.serve({ ...direct, uid: SIDECAR_UID }, [OUTBOUND, INBOUND], bodyOf('direct'));

  const captured = await addPod(cluster, 'captured', 0, true);
  const sidecar = startContainerOfSidecar(cluster, captured);
  stage.programs.serve(sidecar, [OUTBOUND, INBOUND], bodyOf('captured'), '127.0.0.1');

  const redirected = await addPod(cluster, 'redirected');
  const file = join(stage.directory, 'redirect.rules');
  writeFileSync(file, redirectRules(SIDECAR_UID, OUTBOUND, INBOUND));
  runIn(redirected.netns, 'iptables-restore', file);
  stage.programs.serve({ ...redirected, uid: SIDECAR_UID }, [OUTBOUND, INBOUND], bodyOf('redirected'));

  const way = (name: string, pod: HeddlePod, from: HeddlePod, target: string): Way => ({
    ...{ name, client: from, target, body: bodyOf(pod.name) },
    cgroups: [...new Set([from.cgroup, pod.cgroup])],
  });
  const elsewhere = `${client.ip4}:${PORT}`;
  return [
    way('out, direct', direct, direct, `${direct.ip4}:${OUTBOUND}`),
    way('out, captured', captured, captured, elsewhere),
    way('out, REDIRECT', redirected, redirected, elsewhere),
    way('in, direct', direct, client, `${direct.ip4}:${INBOUND}`),
    way('in, captured', captured, client, `${captured.ip4}:${PORT}`),
    way('in, REDIRECT', redirected, client, `${redirected.ip4}:${PORT}`),
  ];
}
