/** What a directory of manifests may hold. Past a limit the rest is reported, not read. */
export interface FileLimits {
  readonly fileBytesMax: number;
  readonly filesMax: number;
  readonly documentsPerFileMax: number;
  readonly objectsPerListMax: number;
  readonly folderDepthMax: number;
  readonly nestingDepthMax: number;
  readonly aliasesMax: number;
}

export const DEFAULT_FILE_LIMITS: FileLimits = {
  fileBytesMax: 16 * 1024 * 1024,
  filesMax: 10_000,
  documentsPerFileMax: 10_000,
  objectsPerListMax: 100_000,
  folderDepthMax: 32,
  nestingDepthMax: 100,
  aliasesMax: 100,
};

/** Editors truncate a file, then write it: an empty file counts only once it has stayed empty this long. */
export const EMPTY_FILE_SETTLE_MS = 500;
/** Events of one save come together. */
export const EVENT_DEBOUNCE_MS = 20;
/** The safety net under dropped events and folders that appear later. */
export const RESCAN_MS = 1_000;
