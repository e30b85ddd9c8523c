import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { ip, removeNamespace, runIn } from '../../support/network/commands.ts';
import { ADDRESSES, type ClusterLayout, type NodeLayout } from './layout.ts';

/**
 * The underlay: the world's namespace with a bridge, and a namespace for each node with a leg on it. Nothing is in the
 * machine's own namespace. Routes for pods are the CNI's to make.
 */
export function makeNetwork({ world, first, nodes }: ClusterLayout): void {
  addNamespace(world);
  for (const words of [
    'link add br0 type bridge',
    `addr add ${ADDRESSES.worldIp4}/24 dev br0`,
    `addr add ${ADDRESSES.worldIp6}/64 dev br0 nodad`,
    'link set br0 up',
  ])
    runIn(world, 'ip', ...words.split(' '));
  for (const node of nodes.length === 0 ? [first] : nodes) connectNode(world, node);
}

/** Ends what runs in the namespaces, and removes them; also those of a cluster that never stood whole. */
export function removeNetwork(prefix: string): void {
  for (const line of ip('netns', 'list').split('\n')) {
    const name = line.split(' ')[0] ?? '';
    if (name.startsWith(`${prefix}-`) && isPart(name.slice(prefix.length + 1))) removeNamespace(name);
  }
}

/** A cluster `a` must not take away the namespaces of a cluster `a-b`. */
function isPart(rest: string): boolean {
  return rest === 'world' || /^node-\d+$/.test(rest);
}

function addNamespace(path: string): void {
  if (!existsSync(path)) ip('netns', 'add', basename(path));
  runIn(path, 'ip', 'link', 'set', 'lo', 'up');
}

function connectNode(world: string, { number, netns, ip4, ip6 }: NodeLayout): void {
  addNamespace(netns);
  const port = `port${number}`;
  runIn(world, 'ip', ...`link add ${port} type veth peer name eth0 netns ${basename(netns)}`.split(' '));
  runIn(world, 'ip', ...`link set ${port} master br0 up`.split(' '));
  for (const words of [
    `addr add ${ip4}/24 dev eth0`,
    `addr add ${ip6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${ADDRESSES.worldIp4}`,
    `-6 route add default via ${ADDRESSES.worldIp6}`,
  ])
    runIn(netns, 'ip', ...words.split(' '));
}
