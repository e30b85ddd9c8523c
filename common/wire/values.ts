import type { Duration } from '../gen/google/protobuf/duration.ts';

/** Milliseconds, not negative, as a protobuf Duration. Fractions of a microsecond are lost. */
export function toDuration(durationMs: number): Duration {
  const micros = Math.round(durationMs * 1000);
  const seconds = Math.floor(micros / 1_000_000);
  return { seconds, nanos: (micros - seconds * 1_000_000) * 1000 };
}

export function fromDuration(duration: Duration): number {
  return duration.seconds * 1000 + duration.nanos / 1_000_000;
}

/** Envoy reads `%` in a header value as the start of a command; `%%` is a literal one. */
export function escapeHeaderValue(value: string): string {
  return value.replaceAll('%', '%%');
}

/** The literal text, or undefined where the value holds a command such as `%PROTOCOL%`. */
export function unescapeHeaderValue(value: string): string | undefined {
  const literal = value.replaceAll('%%', '');
  return literal.includes('%') ? undefined : value.replaceAll('%%', '%');
}
