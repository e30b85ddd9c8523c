import { readIfThere } from '../../common/atomic-file.ts';
import { type Host, succeed } from './host.ts';
import type { Underlay } from './layout.ts';
import type { Made } from './made.ts';

const FORWARDING = '/proc/sys/net/ipv4/ip_forward';

/**
 * Lets nodes reach what this machine reaches, by masquerade as from any other program of it, and nobody else reach them:
 * a machine that forwards for its nodes must not become a router for its neighbours. IPv4 only, because a machine that
 * forwards IPv6 no longer listens to its own router's advertisements (ip-sysctl, `accept_ra`).
 */
export async function openWorld(host: Host, mesh: string, underlay: Underlay, made: Made): Promise<void> {
  const before = (readIfThere(FORWARDING) ?? '').trim();
  const table = `heddle_${mesh.replaceAll('-', '_')}`;
  made.add('table', table);
  await succeed(host, 'nft', ['-f', '-'], { input: worldRules(table, underlay, before === '1') });
  if (before === '1') return;
  made.add('sysctl', FORWARDING, before);
  await succeed(host, 'sh', ['-c', `echo 1 >${FORWARDING}`]);
}

/** nft(8) rules; `forwards`: whether the machine forwarded before, for others too. */
export function worldRules(table: string, underlay: Underlay, forwards: boolean): string {
  const bridge = `"${underlay.bridge}"`;
  const subnet = `${underlay.ip4.replace(/\.\d+$/, '.0')}/24`;
  return [
    `table inet ${table} {`,
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    `    ip saddr ${subnet} oifname != ${bridge} masquerade`,
    '  }',
    '  chain forward {',
    '    type filter hook forward priority filter; policy accept;',
    `    iifname != ${bridge} oifname ${bridge} ct state new drop`,
    ...(forwards ? [] : [`    iifname != ${bridge} oifname != ${bridge} drop`]),
    '  }',
    '}',
    '',
  ].join('\n');
}
