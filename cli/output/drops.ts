import type { DropEnd, DropRecord } from '../../common/pod-network.ts';
import { hostText } from './pod-network.ts';

const HEADER = ['TIME', 'DIRECTION', 'REASON', 'FROM', 'TO', 'PACKETS', 'POLICIES'];
const MORE = ['NODE', 'BYTES', 'WHAT'];

/** Drops in columns that grow with what comes: those that are known stand in line, and later ones below them. */
export class DropColumns {
  readonly #wide: boolean;
  readonly #widths: number[] = [];

  constructor(wide: boolean) {
    this.#wide = wide;
  }

  /** The header and all these, a line each. */
  table(records: readonly DropRecord[]): string {
    const rows = [this.#wide ? [...HEADER, ...MORE] : HEADER, ...records.map((one) => this.#cells(one))];
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
    const target = `→ ${endText(to, this.#wide)}${portText(to, protocol)}`;
    return [
      ...[at, direction, reason, endText(from, this.#wide), target],
      ...[String(packets), policies.join(',') || '-'],
      ...(this.#wide ? [node, String(bytes), message] : []),
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
