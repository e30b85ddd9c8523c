import type { Clock } from './clock.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Structured log lines. Never pass keys, tokens, certificates' private parts or whole header sets. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with `fields` on every line. */
  child(fields: LogFields): Logger;
  setLevel(level: LogLevel): void;
  level(): LogLevel;
}

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(RANK, text);
}

/** One JSON object a line: `time` (RFC 3339), `level`, `message`, then the fields. `write` gets whole lines. */
export function jsonLogger(clock: Clock, write: (line: string) => void, level: LogLevel = 'info'): Logger {
  const shared = { level };
  const make = (bound: LogFields): Logger => {
    const emit = (at: LogLevel, message: string, fields?: LogFields) => {
      if (RANK[at] < RANK[shared.level]) return;
      write(
        `${JSON.stringify({ time: new Date(clock.wallMs()).toISOString(), level: at, message, ...bound, ...fields })}\n`,
      );
    };
    return {
      debug: (message, fields) => emit('debug', message, fields),
      info: (message, fields) => emit('info', message, fields),
      warn: (message, fields) => emit('warn', message, fields),
      error: (message, fields) => emit('error', message, fields),
      child: (fields) => make({ ...bound, ...fields }),
      setLevel: (next) => {
        shared.level = next;
      },
      level: () => shared.level,
    };
  };
  return make({});
}

export const silentLogger: Logger = jsonLogger(
  { now: () => 0, wallMs: () => 0, after: () => ({ cancel() {} }), every: () => ({ cancel() {} }) },
  () => {},
  'error',
);
