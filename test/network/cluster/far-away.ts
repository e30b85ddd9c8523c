import type { TestCluster } from '../../support/network/cluster.ts';
import { ip, runIn } from '../../support/network/commands.ts';

export const NARROW_MTU = 1280;

/** What its host offers all the same: it doesn't know of the narrow link, as in life. */
const OFFERED = ['mtu', `${NARROW_MTU}`, 'advmss', '1440'];

/** A host behind the world, across a link of `NARROW_MTU`: the world is the router that tells senders of it. */
export function addFarNetwork(cluster: TestCluster): {
  readonly netns: string;
  readonly ip4: string;
  readonly ip6: string;
} {
  const world = cluster.world.netns;
  const netns = world.replace(/world$/, 'far');
  const name = netns.slice('/run/netns/'.length);
  ip('netns', 'add', name);
  runIn(world, 'ip', 'link', 'add', 'far0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  runIn(world, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
  for (const [at, lines] of [
    [world, ['addr add 198.18.0.1/24 dev far0', 'addr add 2001:db8:f::1/64 dev far0 nodad']],
    [netns, ['addr add 198.18.0.2/24 dev eth0', 'addr add 2001:db8:f::2/64 dev eth0 nodad']],
  ] as const)
    for (const line of lines) runIn(at, 'ip', ...line.split(' '));
  runIn(world, 'ip', 'link', 'set', 'far0', 'mtu', `${NARROW_MTU}`, 'up');
  runIn(netns, 'ip', 'link', 'set', 'lo', 'up');
  runIn(netns, 'ip', 'link', 'set', 'eth0', 'up');
  runIn(netns, 'ip', 'route', 'add', 'default', 'via', '198.18.0.1', ...OFFERED);
  runIn(netns, 'ip', '-6', 'route', 'add', 'default', 'via', '2001:db8:f::1', ...OFFERED);
  return { netns, ip4: '198.18.0.2', ip6: '2001:db8:f::2' };
}
