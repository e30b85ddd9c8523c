import { HeddleError } from '../../common/errors.ts';
import { isJsonObject } from '../../common/json.ts';
import { textAt } from '../kube/fields.ts';
import { overlaps } from './cidr.ts';
import { type Host, succeed } from './host.ts';
import { CLUSTER_RANGES, layOut, type NodePlace, type Underlay } from './layout.ts';
import type { Made } from './made.ts';
import { routes } from './preflight.ts';

const subnetsMax = 256;
/** Where the search for a free subnet begins: the low ones are those that clouds give to machines. */
const firstSubnet = 200;
const bridgesMax = 100;

/** Chooses names and addresses that nothing on this machine has. Fails with code `network` where all are taken. */
export async function chooseUnderlay(
  host: Host,
  mesh: string,
  nodes: number,
  ipv6: boolean,
): Promise<Underlay> {
  const links = new Set(await names(host, ['link', 'show'], 'ifname'));
  const bridge = Array.from({ length: bridgesMax }, (_, index) => `heddle${index}`).find(
    (name) => !links.has(name),
  );
  const taken = await routes(host);
  const subnet = Array.from({ length: subnetsMax }, (_, step) => (firstSubnet + step) % subnetsMax).find(
    (number) => {
      const ours = [`172.31.${number}.0/24`, ...(ipv6 ? [`fd10:245:0:${number.toString(16)}::/64`] : [])];
      return !taken.some((route) => ours.some((range) => overlaps(route, range)));
    },
  );
  if (bridge === undefined || subnet === undefined)
    throw new HeddleError('network', 'no bridge name heddle0–heddle99 or no subnet of 172.31.0.0/16 is free');
  const underlay = layOut(mesh, bridge, subnet, nodes);
  const namespaces = new Set(await names(host, ['netns', 'list'], 'name'));
  const known = underlay.nodes.find((place) => namespaces.has(place.netns));
  if (known !== undefined)
    throw new HeddleError(
      'network',
      `the network namespace ${known.netns} exists already: another mesh of this name runs from another state directory; choose another --name`,
    );
  return underlay;
}

async function names(host: Host, words: readonly string[], field: string): Promise<readonly string[]> {
  const out = await succeed(host, 'ip', ['-json', ...words]);
  const parsed: unknown = out.trim() === '' ? [] : JSON.parse(out);
  return (Array.isArray(parsed) ? parsed : []).flatMap((entry) => {
    const name = isJsonObject(entry) ? textAt(entry, field) : undefined;
    return name === undefined ? [] : [name];
  });
}

/**
 * Makes the bridge and the nodes' namespaces. This side of the bridge is the world to the cluster, and its way to pods is
 * through their nodes.
 */
export async function makeUnderlay(host: Host, underlay: Underlay, made: Made, ipv6: boolean): Promise<void> {
  const { bridge } = underlay;
  made.add('link', bridge);
  for (const place of underlay.nodes) {
    made.add('netns', place.netns);
    made.add('link', place.link);
  }
  await batch(
    host,
    [],
    [
      `link add ${bridge} type bridge forward_delay 0`,
      `addr add ${underlay.ip4}/24 dev ${bridge}`,
      ...(ipv6 ? [`addr add ${underlay.ip6}/64 dev ${bridge} nodad`] : []),
      `link set ${bridge} up`,
      ...underlay.nodes.flatMap((place) => [
        `netns add ${place.netns}`,
        `link add ${place.link} type veth peer name eth0 netns ${place.netns}`,
        `link set ${place.link} master ${bridge} up`,
      ]),
    ],
  );
  for (const place of underlay.nodes) await makeNode(host, underlay, place, ipv6);
  const first = underlay.nodes[0];
  await batch(
    host,
    [],
    [
      ...underlay.nodes.flatMap((place) => [
        `route add ${place.pods4} via ${place.ip4} dev ${bridge}`,
        ...(ipv6 ? [`route add ${place.pods6} via ${place.ip6} dev ${bridge}`] : []),
      ]),
      ...(first === undefined
        ? []
        : [
            `route add ${CLUSTER_RANGES.services.v4} via ${first.ip4} dev ${bridge}`,
            ...(ipv6 ? [`route add ${CLUSTER_RANGES.services.v6} via ${first.ip6} dev ${bridge}`] : []),
          ]),
    ],
  );
}

async function makeNode(host: Host, underlay: Underlay, place: NodePlace, ipv6: boolean): Promise<void> {
  await batch(
    host,
    ['-n', place.netns],
    [
      'link set lo up',
      `addr add ${place.ip4}/24 dev eth0`,
      ...(ipv6 ? [`addr add ${place.ip6}/64 dev eth0 nodad`] : []),
      'link set eth0 up',
      `route add default via ${underlay.ip4} dev eth0`,
      ...(ipv6 ? [`route add default via ${underlay.ip6} dev eth0`] : []),
    ],
  );
}

/** Several commands of ip(8) in one run. */
async function batch(host: Host, options: readonly string[], lines: readonly string[]): Promise<void> {
  await succeed(host, 'ip', [...options, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** Makes a pod's namespace as a container runtime does before it calls CNI: loopback up, low ports for every user. */
export async function makePodNamespace(host: Host, name: string): Promise<void> {
  await succeed(host, 'ip', ['netns', 'add', name]);
  const settings = 'echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start';
  await succeed(host, 'ip', ['netns', 'exec', name, 'sh', '-c', `ip link set lo up && ${settings}`]);
}

export async function removeNamespace(host: Host, name: string): Promise<void> {
  await succeed(host, 'ip', ['netns', 'del', name]);
}
