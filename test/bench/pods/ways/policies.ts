import { addPod, applyPolicies } from '../heddle-cluster.ts';
import { type IngressRule, policyRules } from '../iptables-rules.ts';
import type { Stage } from '../stage.ts';
import type { Way } from '../way.ts';
import { bodyOf, PORT, REFUSED_PORT, wayTo } from './pods.ts';

const COUNTS = [1, 1000];

export async function waysThroughPolicies(stage: Stage): Promise<readonly Way[]> {
  const cluster = await stage.heddle(1);
  const ways: Way[] = [];
  for (const count of COUNTS) {
    const name = `heddle, ${count}`;
    const client = await addPod(cluster, `client-${count}`);
    const server = await addPod(cluster, `server-${count}`);
    applyPolicies(cluster, server, rules(count, client.ip4));
    stage.programs.serve(server, [PORT, REFUSED_PORT], bodyOf(name));
    ways.push(wayTo(name, client, server, true));
  }
  for (const count of COUNTS) {
    const name = `iptables, ${count}`;
    const peer = stage.bridge(1, true);
    const [client, server] = [peer.addPod(), peer.addPod()];
    peer.addRules(policyRules(server.ip4, rules(count, client.ip4)));
    stage.programs.serve(server, [PORT, REFUSED_PORT], bodyOf(name));
    ways.push(wayTo(name, client, server, true));
  }
  return ways;
}

/** The one in the middle allows the client: rules that are looked at in turn cost that much on average. */
function rules(count: number, client: string): readonly IngressRule[] {
  const middle = Math.floor(count / 2);
  return Array.from({ length: count }, (_, number) => ({
    cidr: number === middle ? `${client}/32` : `172.20.${Math.floor(number / 250)}.${1 + (number % 250)}/32`,
    port: PORT,
  }));
}
