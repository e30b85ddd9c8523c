import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { ASIDE_SHARE, LOG_SHARE } from './limits.ts';

/** Raised with every change of the tables; a file of another version is put aside. */
const SCHEMA_VERSION = 1;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS spans (
  id INTEGER PRIMARY KEY,
  trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT NOT NULL,
  service TEXT NOT NULL, operation TEXT NOT NULL, kind INTEGER NOT NULL,
  start_us INTEGER NOT NULL, duration_us INTEGER NOT NULL, error INTEGER NOT NULL,
  body TEXT NOT NULL,
  UNIQUE (trace_id, span_id)
);
CREATE INDEX IF NOT EXISTS spans_start ON spans (start_us);
CREATE INDEX IF NOT EXISTS spans_service ON spans (service, start_us);
CREATE INDEX IF NOT EXISTS spans_operation ON spans (service, operation, start_us);
CREATE INDEX IF NOT EXISTS spans_duration ON spans (duration_us);
CREATE TABLE IF NOT EXISTS tags (
  span INTEGER NOT NULL REFERENCES spans (id) ON DELETE CASCADE,
  key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (key, value, span)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_span ON tags (span);
PRAGMA user_version = ${SCHEMA_VERSION};
`;

function openOnce(path: string, diskBytesMax: number): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;');
    // Without it the log stays as large as it ever was.
    database.exec(`PRAGMA journal_size_limit = ${Math.floor(diskBytesMax * LOG_SHARE)}`);
    const version = database.prepare('PRAGMA user_version').get()?.user_version;
    if (version !== 0 && version !== SCHEMA_VERSION) {
      throw new HeddleError('trace-store-version', `its tables are of version ${version}`);
    }
    database.exec(SCHEMA);
    const check = database.prepare('PRAGMA quick_check(1)').get()?.quick_check;
    if (check !== 'ok') throw new HeddleError('trace-store-corrupt', String(check));
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const SUFFIXES = ['', '-wal', '-shm'] as const;

/**
 * Renames the database aside (`<path>.corrupt-<time>`). One at most is kept, and none that is large: the next one needs the
 * disk. Returns where it is, if anywhere.
 */
function putAside(path: string, wallMs: number, bytesMax: number): string | undefined {
  for (const name of readdirSync(dirname(path))) {
    if (name.startsWith(`${basename(path)}.corrupt-`)) rmSync(join(dirname(path), name));
  }
  const aside = `${path}.corrupt-${wallMs}`;
  const there = SUFFIXES.filter((suffix) => existsSync(path + suffix));
  const bytes = there.reduce((sum, suffix) => sum + statSync(path + suffix).size, 0);
  for (const suffix of there) {
    if (bytes <= bytesMax) renameSync(path + suffix, aside + suffix);
    else rmSync(path + suffix);
  }
  return bytes <= bytesMax ? aside : undefined;
}

export interface DatabaseOptions {
  readonly path: string;
  readonly diskBytesMax: number;
  readonly wallMs: number;
  readonly log: Logger;
}

/**
 * Opens the database; one that can't be read is put aside and a new one is begun, because traces are worth less than a control
 * plane that starts. Throws where even a new one can't be made.
 */
export function openDatabase({ path, diskBytesMax, wallMs, log }: DatabaseOptions): DatabaseSync {
  try {
    return openOnce(path, diskBytesMax);
  } catch (error) {
    if (path === ':memory:' || !existsSync(path)) throw error;
    const aside = putAside(path, wallMs, diskBytesMax * ASIDE_SHARE);
    log.warn('the trace store could not be read: a new one is begun', {
      path,
      before: aside === undefined ? 'removed, as it was large' : `put aside as ${aside}`,
      why: messageOf(error),
    });
    return openOnce(path, diskBytesMax);
  }
}
