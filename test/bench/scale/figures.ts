import os from 'node:os';
import { cpuMicros, residentMb, waitedMicros } from '../counters.ts';

export interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What one part of a run cost the control plane. */
export interface Cost {
  readonly cpuMs: number;
  /** How long it could run and had to wait for its processor, which others use as well. */
  readonly waitedMs: number;
  /** Processes that wanted to run, on average over the last minute. */
  readonly load: number;
}

/** Figures by name, in the order of measurement. */
export type Figures = Record<string, number | string | Latency | Cost | Readonly<Record<string, number>>>;

/** Milliseconds. */
export function latencyOf(times: readonly number[]): Latency {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => round(sorted[Math.ceil(share * sorted.length) - 1] ?? 0);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** What a process needs for `work`. */
export async function costOf(pid: number, work: () => Promise<void>): Promise<Cost> {
  const before = { cpu: cpuMicros([pid]), waited: waitedMicros(pid) };
  await work();
  return {
    cpuMs: round((cpuMicros([pid]) - before.cpu) / 1_000),
    waitedMs: round((waitedMicros(pid) - before.waited) / 1_000),
    load: round(os.loadavg()[0] ?? 0),
  };
}

export function memoryOf(pid: number): { readonly rssMb: number; readonly peakMb: number } {
  const { nowMb, peakMb } = residentMb(pid);
  return { rssMb: Math.round(nowMb), peakMb: Math.round(peakMb) };
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
