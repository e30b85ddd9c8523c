/**
 * Installs what is missing of the named programs where it may, otherwise prints the command that would. Returns the
 * names still missing.
 */
export declare function ensurePrograms(names: readonly string[]): string[];
