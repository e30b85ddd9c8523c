/** What a directory of manifests may hold. Past a limit the rest is reported, not read. */
export interface FileLimits {
  readonly fileBytesMax: number;
  readonly filesMax: number;
  readonly foldersMax: number;
  readonly documentsPerFileMax: number;
  readonly objectsPerListMax: number;
  readonly folderDepthMax: number;
  readonly nestingDepthMax: number;
  readonly aliasesMax: number;
  /** Of one document, keys and values, with every alias written out. */
  readonly expandedCharsMax: number;
}

export const DEFAULT_FILE_LIMITS: FileLimits = {
  fileBytesMax: 4 * 1024 * 1024,
  filesMax: 10_000,
  foldersMax: 2_000,
  documentsPerFileMax: 10_000,
  objectsPerListMax: 100_000,
  folderDepthMax: 32,
  nestingDepthMax: 100,
  aliasesMax: 100,
  expandedCharsMax: 64 * 1024 * 1024,
};

/**
 * Editors truncate a file, then write it: one that is empty, or only a shorter beginning of what it was, counts once it
 * has stayed so this long.
 */
export const EMPTY_FILE_SETTLE_MS = 500;
/** Some move it aside and write a new one: a file that is gone counts once it has been gone this long. */
export const GONE_FILE_SETTLE_MS = 100;
/** A file that was written to a moment ago may be written to again: it is read once it has been quiet this long. */
export const QUIET_MS = 40;
/** A file that is written to all the time is read this long after its first change all the same. */
export const QUIET_WAIT_MAX_MS = 500;
/** Events of one save come together. */
export const EVENT_DEBOUNCE_MS = 20;
/** The safety net under dropped events and folders that appear later. */
export const RESCAN_MS = 1_000;
