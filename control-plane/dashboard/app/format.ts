/** Microseconds as a person says them: `840 µs`, `12.4 ms`, `1.25 s`, `2 min 5 s`. */
export function duration(us: number): string {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1e3).toFixed(us < 1e4 ? 2 : us < 1e5 ? 1 : 0)} ms`;
  if (us < 6e7) return `${(us / 1e6).toFixed(2)} s`;
  return `${Math.floor(us / 6e7)} min ${Math.round((us % 6e7) / 1e6)} s`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export function clockTime(us: number): string {
  return CLOCK.format(us / 1000);
}

export function fullTime(us: number): string {
  return FULL.format(us / 1000);
}

export function percent(part: number, whole: number): string {
  if (whole === 0) return '–';
  const share = (100 * part) / whole;
  return `${share === 0 || share >= 10 ? share.toFixed(0) : share.toFixed(1)} %`;
}

export function rate(count: number, seconds: number): string {
  const each = count / seconds;
  return each >= 10 ? each.toFixed(0) : each.toFixed(each >= 1 ? 1 : 2);
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

const HUES = 8;
const hues = new Map<string, number>();

/**
 * One of eight hues for a service, the same on every page while the tab lives: its own favourite, or the next one that
 * nobody has, so that few services never look alike.
 */
export function hue(service: string): number {
  const known = hues.get(service);
  if (known !== undefined) return known;
  let hash = 7;
  for (const character of service) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  const taken = new Set(hues.values());
  const order = Array.from({ length: HUES }, (_, step) => (hash + step) % HUES);
  const chosen = order.find((each) => !taken.has(each)) ?? hash % HUES;
  hues.set(service, chosen);
  return chosen;
}
