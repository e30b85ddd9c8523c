import type { Finding } from '../check/findings.ts';

/** What somebody with fewer rights can't be told. */
export function unseen(about: string, plural: string): Finding {
  return {
    ...{ level: 'warning', about, message: `can't be looked at: you may not list ${plural}` },
    remedy: `ask somebody who may: heddle check --pre`,
  };
}

/** Whether `v1.34.4`, `6.8.0-45-generic` or `v1.5.0-rc.1` is of this version or a newer one. */
export function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const match = /^v?(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [, first, second] = match.map(Number);
  return Number(first) > major || (first === major && Number(second) >= minor);
}
