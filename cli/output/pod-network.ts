import type {
  AgentStatus,
  CaptureStatus,
  DirectionStatus,
  EndpointStatus,
  IsolationStatus,
  PolicyRuleStatus,
  PolicyStatus,
  ServiceStatus,
} from '../../common/pod-network.ts';
import { problemLine } from './problem.ts';
import { formatAge, formatTable } from './table.ts';

/** What an agent said, with the node it said it for. */
export type OnNode<T> = T & { readonly node: string };

export interface TableView {
  readonly wide: boolean;
  readonly nowMs: number;
}

/** Backends of one Service in a table that isn't wide. */
const backendsShownMax = 3;

export function statusTable(items: readonly AgentStatus[], { wide, nowMs }: TableView): string {
  const header = ['NODE', 'MODE', 'READY', 'PODS', 'MESHED', 'SIDECARS', 'ADDRESSES', 'POLICIES', 'SERVICES'];
  const more = wide ? ['MTU', 'VERSION', 'AGE', 'BLOCKS', 'ROUND'] : [];
  const rows = items.map((item) => [
    ...[item.node, item.mode, item.ready ? 'yes' : 'no', String(item.pods.attached)],
    ...[String(item.pods.captured), String(item.pods.confirmed), usageText(item)],
    ...[String(item.known.policies), String(item.known.services), String(item.drops.packets)],
    ...[String(item.driftRepaired)],
    ...(wide ? wideCells(item, nowMs) : []),
  ]);
  return formatTable([...header, 'DROPS', 'REPAIRED', ...more], rows);
}

/** `3/254`: of the block that has least left. */
function usageText({ blocks }: AgentStatus): string {
  const [tightest] = blocks.toSorted((a, b) => a.usable - a.given - (b.usable - b.given));
  return tightest === undefined ? '-' : `${tightest.given}/${tightest.usable}`;
}

function wideCells(item: AgentStatus, nowMs: number): readonly string[] {
  const round = item.lastRound;
  return [
    ...[String(item.mtu), item.version, formatAge(nowMs - Date.parse(item.startedAt))],
    item.blocks.map(({ block }) => block).join(',') || '-',
    round === undefined
      ? 'none'
      : `${formatAge(nowMs - Date.parse(round.at))} ago, ${Math.ceil(round.seconds * 1_000)} ms`,
  ];
}

/** What isn't as it should be, a line each, and the kernel's maps where they were looked at. */
export function statusNotes(items: readonly AgentStatus[], cwd: string): string {
  return items
    .flatMap((item) => [
      ...(item.ready ? [] : [`${item.node}: not ready: ${item.reason}`]),
      ...item.programs
        .filter(({ attached }) => !attached)
        .map(
          ({ name, target, pin }) => `${item.node}: program ${name} is not attached to ${target} (${pin})`,
        ),
      ...(item.lastError === undefined
        ? []
        : [`${item.node}: last error at ${item.lastError.at}: ${item.lastError.message}`]),
      ...((item.drops.lost ?? 0) > 0
        ? [`${item.node}: ${item.drops.lost} dropped packets were counted that nobody could be told of`]
        : []),
    ])
    .concat([...new Set(items.flatMap(({ problems }) => problems.map((one) => problemLine(one, cwd))))])
    .map((line) => `${line}\n`)
    .join('');
}

export function mapTable(items: readonly AgentStatus[]): string {
  const rows = items.flatMap(({ node, maps }) =>
    (maps ?? []).map(({ map, wanted, held, missing, differing, stale, entriesMax }) => [
      ...[node, map],
      ...[wanted, held, missing, differing, stale, entriesMax].map(String),
    ]),
  );
  return formatTable(['NODE', 'MAP', 'WANTED', 'HELD', 'MISSING', 'DIFFERING', 'STALE', 'MAX'], rows);
}

export function endpointTable(items: readonly OnNode<EndpointStatus>[], { wide }: TableView): string {
  const kernel = items.some((item) => item.kernel !== undefined);
  const header = ['NODE', 'ADDRESS', 'KIND', 'NAME', 'VIA', 'MESHED'];
  const more = wide ? ['IDENTITY', 'INGRESS-SET', 'EGRESS-SET', 'DEVICE', 'MAC'] : [];
  const rows = items.map((item) => [
    ...[item.node, item.ip, item.kind, item.name || '-', viaText(item), meshedText(item)],
    ...(wide
      ? [...[item.identity, item.ingressSet, item.egressSet].map(String), item.device || '-', item.mac || '-']
      : []),
    ...(kernel ? [item.kernel ?? '-'] : []),
  ]);
  return formatTable([...header, ...more, ...(kernel ? ['KERNEL'] : [])], rows);
}

function viaText({ local, via }: EndpointStatus): string {
  return local ? 'here' : via || '-';
}

/** An agent knows it of its own pods alone. */
function meshedText({ kind, local, meshed }: EndpointStatus): string {
  return local && kind === 'pod' ? (meshed ? 'yes' : 'no') : '-';
}

export function serviceTable(items: readonly OnNode<ServiceStatus>[], { wide }: TableView): string {
  const kernel = items.some((item) => item.kernel !== undefined);
  const rows = items.map((item) => [
    ...[item.node, item.owner || '-', item.kind || '-', frontendText(item), item.scope],
    ...[backendsText(item, wide), ...(wide ? [affinityText(item)] : [])],
    ...(kernel ? [item.kernel ?? '-'] : []),
  ]);
  const more = [...(wide ? ['AFFINITY'] : []), ...(kernel ? ['KERNEL'] : [])];
  return formatTable(['NODE', 'OWNER', 'TYPE', 'ADDRESS', 'FOR', 'BACKENDS', ...more], rows);
}

function frontendText({ ip, port, protocol }: ServiceStatus): string {
  const host = ip === '0.0.0.0' || ip === '::' ? `node(${ip === '::' ? 'IPv6' : 'IPv4'})` : hostText(ip);
  return `${host}:${port}/${protocol}`;
}

function backendsText({ kind, backends }: ServiceStatus, wide: boolean): string {
  // The node's own DNS answers there, in place of pods.
  if (kind === 'dns') return 'this node';
  if (backends.length === 0) return 'none';
  const shown = wide ? backends : backends.slice(0, backendsShownMax);
  const left = backends.length - shown.length;
  return `${shown.join(',')}${left === 0 ? '' : ` and ${left} more`}`;
}

function affinityText({ affinitySeconds }: ServiceStatus): string {
  return affinitySeconds === 0 ? '-' : `${affinitySeconds}s`;
}

export function captureTable(items: readonly OnNode<CaptureStatus>[]): string {
  const list = (values: readonly (string | number)[]) => values.join(',') || '-';
  const rows = items.map((item) => [
    ...[item.node, item.pod, item.captured ? 'yes' : 'no', sidecarText(item)],
    ...[list(item.skip.inbound), list(item.skip.outbound), list(item.skip.cidrs)],
  ]);
  return formatTable(
    ['NODE', 'POD', 'CAPTURED', 'SIDECAR', 'SKIP-INBOUND', 'SKIP-OUTBOUND', 'SKIP-CIDRS'],
    rows,
  );
}

function sidecarText({ captured, sidecarCgroup }: CaptureStatus): string {
  if (!captured) return '-';
  return sidecarCgroup === '' ? 'not confirmed yet' : `cgroup ${sidecarCgroup}`;
}

/** A paragraph for each pod: what isolates it in each direction, and what it is allowed all the same. */
export function policyText(items: readonly OnNode<PolicyStatus>[]): string {
  return items
    .map(({ node, pod, ips, ingress, egress }) =>
      [
        `${pod}  (${[node, ...ips].join(', ')})`,
        ...isolationLines('ingress', ingress),
        ...isolationLines('egress', egress),
      ].join('\n'),
    )
    .map((text) => `${text}\n`)
    .join('\n');
}

function isolationLines(
  direction: 'ingress' | 'egress',
  { policies, rules }: IsolationStatus,
): readonly string[] {
  const title = `  ${direction.padEnd(9)}`;
  if (policies.length === 0) return [`${title}open: no policy isolates it`];
  const none = rules.length === 0 ? ['             nothing is allowed'] : [];
  return [
    `${title}isolated by ${policies.join(', ')}`,
    ...none,
    ...rules.map((rule) => `             ${ruleText(direction, rule)}`),
  ];
}

function ruleText(
  direction: 'ingress' | 'egress',
  { policy, index, peers, ports }: PolicyRuleStatus,
): string {
  const who = peers.length === 0 ? 'anybody' : peers.join('; ');
  const what = ports.length === 0 ? 'every port' : ports.join(', ');
  return `allows ${what} ${direction === 'ingress' ? 'from' : 'to'} ${who}  [${policy} rule ${index}]`;
}

/** `egress    allowed   no policy isolates its egress`. */
export function directionText(
  direction: string,
  status: DirectionStatus | undefined,
  missing: string,
): string {
  const word = status === undefined ? '-' : status.allowed ? 'allowed' : 'denied';
  return `  ${direction.padEnd(9)}${word.padEnd(9)}${status?.reason ?? missing}\n`;
}

/** An IPv6 address as it stands before a port. */
export function hostText(ip: string): string {
  return ip.includes(':') ? `[${ip}]` : ip;
}
