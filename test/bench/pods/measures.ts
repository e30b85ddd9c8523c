/** How a way is loaded. */
export interface Measure {
  readonly name: MeasureName;
  readonly connections: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds that a connection waits before its next request, at least and at most; undefined: none. */
  readonly pauseMs?: readonly [least: number, most: number];
}

export type MeasureName = 'keep-alive' | 'new connections' | 'bulk' | 'paced';

export const BULK_FILE = 'bulk';
export const bulkBytes = 16 * 1024 * 1024;
const CONNECTIONS = 16;

export const MEASURES: readonly Measure[] = [
  { name: 'keep-alive', connections: CONNECTIONS, path: '/', headers: {} },
  { name: 'new connections', connections: CONNECTIONS, path: '/', headers: { Connection: 'close' } },
  { name: 'bulk', connections: 1, path: `/${BULK_FILE}`, headers: {} },
  // About 2,000 requests a second, far from what any way can carry: what is left is the way's own latency.
  { name: 'paced', connections: CONNECTIONS, path: '/', headers: {}, pauseMs: [4, 12] },
];
