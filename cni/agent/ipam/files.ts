import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from '../../../common/atomic-file.ts';
import { HeddleError, messageOf } from '../../../common/errors.ts';

/**
 * Where the addresses are kept: a snapshot, and the changes since. A process that is killed at any instant leaves either
 * without or with the change it was writing, perhaps cut off.
 */
export interface AddressFiles {
  read(): { readonly snapshot: string | undefined; readonly changes: string };
  /** Adds one line. Throws where it isn't kept; the lines before stay as they were. */
  append(line: string): void;
  /** Takes the place of everything there was. */
  replace(snapshot: string): void;
  /** Keeps an unreadable snapshot for whoever looks into it. */
  setAside(): void;
  close(): void;
}

/** Two files of a directory, for root alone: `addresses.json` and `addresses.log`. */
export function openAddressFiles(directory: string): AddressFiles {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const snapshotPath = join(directory, 'addresses.json');
  const changesPath = join(directory, 'addresses.log');
  const descriptor = openSync(changesPath, 'a', 0o600);
  let bytes = Buffer.byteLength(readFileSync(changesPath));
  /** Half a line stands at the end and couldn't be taken away: the next one would be unreadable, too. */
  let torn = false;
  return {
    read: () => ({ snapshot: readIfThere(snapshotPath), changes: readFileSync(changesPath, 'utf8') }),
    append(line) {
      if (torn) throw unwritable(changesPath, 'it ends in half a line');
      const record = Buffer.from(`${line}\n`);
      try {
        const written = writeSync(descriptor, record);
        if (written !== record.length) throw new Error(`${written} of ${record.length} bytes were written`);
        bytes += record.length;
      } catch (thrown) {
        torn = true;
        ftruncateSync(descriptor, bytes);
        torn = false;
        throw unwritable(changesPath, messageOf(thrown));
      }
    },
    replace(snapshot) {
      try {
        writeAtomically(snapshotPath, snapshot);
        // Killed here, the next start finds changes that the snapshot has already, and passes over them by their number.
        ftruncateSync(descriptor, 0);
      } catch (thrown) {
        throw unwritable(snapshotPath, messageOf(thrown));
      }
      bytes = 0;
      torn = false;
    },
    setAside: () => renameSync(snapshotPath, `${snapshotPath}.damaged`),
    close: () => closeSync(descriptor),
  };
}

function unwritable(path: string, why: string): HeddleError {
  return new HeddleError(
    'addresses-unwritable',
    `no address can be given or taken back: ${path}: ${why}; free space on its disk or mend it`,
  );
}
