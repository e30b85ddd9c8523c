import type { Duration } from '../gen/google/protobuf/duration.ts';

/** Milliseconds as a protobuf Duration. Fractions of a microsecond are lost. */
export function toDuration(durationMs: number): Duration {
  const seconds = Math.floor(durationMs / 1000);
  return { seconds, nanos: Math.round((durationMs - seconds * 1000) * 1000) * 1000 };
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
