import type { DropEnd, DropRecord } from '../../common/pod-network.ts';
import { hostText } from './pod-network.ts';

const HEADER = ['TIME', 'DIRECTION', 'REASON', 'FROM', 'TO', 'PACKETS', 'POLICIES'];
const MORE = ['BYTES', 'WHAT'];

export interface DropView {
  readonly wide: boolean;
  /** Names the node of each without `wide`, too. */
  readonly nodes: boolean;
}

/** Drops in columns that grow with what comes: those that are known stand in line, and later ones below them. */
export class DropColumns {
  readonly #view: DropView;
  readonly #widths: number[] = [];

  constructor(view: DropView) {
    this.#view = view;
  }

  /** The header and all these, a line each. */
  table(records: readonly DropRecord[]): string {
    const { wide, nodes } = this.#view;
    const header = [...HEADER, ...(wide || nodes ? ['NODE'] : []), ...(wide ? MORE : [])];
    const rows = [header, ...records.map((one) => this.#cells(one))];
    for (const row of rows) this.#widen(row);
    return rows.map((row) => this.#line(row)).join('');
  }

  /** One more: `2026-01-02T10:20:30.123Z ingress policy shop/web → shop/db:5432/TCP 1 shop/deny`. */
  line(record: DropRecord): string {
    const cells = this.#cells(record);
    this.#widen(cells);
    return this.#line(cells);
  }

  #cells({
    at,
    direction,
    reason,
    from,
    to,
    protocol,
    packets,
    policies,
    node,
    bytes,
    message,
  }: DropRecord): readonly string[] {
    const { wide, nodes } = this.#view;
    const target = `→ ${endText(to, wide)}${portText(to, protocol)}`;
    return [
      ...[at, direction, reason, endText(from, wide), target],
      ...[String(packets), policies.join(',') || '-'],
      ...(wide || nodes ? [node] : []),
      ...(wide ? [String(bytes), message] : []),
    ];
  }

  #widen(cells: readonly string[]): void {
    for (const [column, cell] of cells.entries())
      this.#widths[column] = Math.max(this.#widths[column] ?? 0, cell.length);
  }

  #line(cells: readonly string[]): string {
    const padded = cells.map((cell, column) => cell.padEnd(this.#widths[column] ?? 0));
    return `${padded.join('   ').trimEnd()}\n`;
  }
}

function endText({ kind, name, ip }: DropEnd, wide: boolean): string {
  if (name === '') return kind === 'world' ? ip : `${kind} ${ip}`;
  const text = kind === 'pod' ? name : `${kind} ${name}`;
  return wide ? `${text} (${ip})` : text;
}

function portText({ port, name, ip }: DropEnd, protocol: string): string {
  if (port === 0) return `/${protocol}`;
  // Without a name the address itself stands before the port.
  const isBareIpv6 = name === '' && hostText(ip) !== ip;
  return `${isBareIpv6 ? ' port ' : ':'}${port}/${protocol}`;
}
