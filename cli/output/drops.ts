import type { DropEnd, DropRecord } from '../../common/pod-network.ts';
import { hostText } from './pod-network.ts';

/** Least widths of the columns: lines that come later stand below those that came first. */
const WIDTHS = [24, 9, 12, 28, 34, 8];
const HEADER = ['TIME', 'DIRECTION', 'REASON', 'FROM', 'TO', 'PACKETS', 'POLICIES'];

/** The first line above drops. */
export function dropHeader(wide: boolean): string {
  return line(wide ? [...HEADER, 'NODE', 'BYTES', 'WHAT'] : HEADER);
}

/** One line: `2026-01-02T10:20:30.123Z ingress policy shop/web → shop/db:5432/TCP 1 shop/deny`. */
export function dropLine(record: DropRecord, wide: boolean): string {
  const { at, direction, reason, from, to, protocol, packets, bytes, policies, node, message } = record;
  const cells = [
    at,
    direction,
    reason,
    endText(from, wide),
    `→ ${endText(to, wide)}${portText(to, protocol)}`,
  ];
  const rest = [String(packets), policies.join(',') || '-'];
  return line([...cells, ...rest, ...(wide ? [node, String(bytes), message] : [])]);
}

function line(cells: readonly string[]): string {
  return `${cells
    .map((cell, column) => cell.padEnd(WIDTHS[column] ?? 0))
    .join('  ')
    .trimEnd()}\n`;
}

function endText({ kind, name, ip }: DropEnd, wide: boolean): string {
  if (name === '') return kind === 'world' ? ip : `${kind} ${ip}`;
  const text = kind === 'pod' ? name : `${kind} ${name}`;
  return wide ? `${text} (${ip})` : text;
}

function portText({ port, name, ip, kind }: DropEnd, protocol: string): string {
  if (port === 0) return `/${protocol}`;
  // Without a name the address itself stands before the port.
  const bare = name === '' && kind === 'world' && hostText(ip) !== ip;
  return `${bare ? ' port ' : ':'}${port}/${protocol}`;
}
