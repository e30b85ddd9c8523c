import { existsSync, renameSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';

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

function openOnce(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;');
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

/**
 * Opens the database; one that can't be read is renamed aside (`<path>.corrupt-<time>`) and a new one is begun, because
 * traces are worth less than a control plane that starts. Throws where even a new one can't be made.
 */
export function openDatabase(path: string, wallMs: number, log: Logger): DatabaseSync {
  try {
    return openOnce(path);
  } catch (error) {
    if (path === ':memory:' || !existsSync(path)) throw error;
    const aside = `${path}.corrupt-${wallMs}`;
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    }
    log.warn('the trace store could not be read: it was put aside and a new one begun', {
      path,
      aside,
      why: messageOf(error),
    });
    return openOnce(path);
  }
}
