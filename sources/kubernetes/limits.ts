/** How long a request may take from its beginning to the last byte of its answer. */
export const REQUEST_TIMEOUT_MS = 30_000;
/** Of a list that is read in one piece: 10,000 whole Pods are about 60 MiB. */
export const LIST_TIMEOUT_MS = 120_000;
/** One answer that isn't a stream. */
export const RESPONSE_BYTES_MAX = 256 * 1024 * 1024;
/** One event of a watch; etcd holds 1.5 MiB of an object. */
export const EVENT_BYTES_MAX = 8 * 1024 * 1024;
/** Objects in one answer of a list. */
export const LIST_PAGE_OBJECTS = 500;
/** Tokens and roots in files are read again after this long: kubelet renews a token at 80 % of its life, an hour at least. */
export const CREDENTIALS_FRESH_MS = 60_000;

/** How long a watch is asked to last, at least; half of it is added by chance, so that they don't all end together. */
export const WATCH_LASTS_MS = 180_000;
/** A watch that is silent for longer than it was asked to last is dropped after this long. */
export const WATCH_SILENCE_GRACE_MS = 15_000;
/** A watch that lasted this long was none that failed, whether it told of something or not. */
export const WATCH_STEADY_MS = 10_000;
/** After a failure, doubled with each, by chance anywhere up to it. */
export const RETRY_BACKOFF = { baseMs: 500, maxMs: 30_000 };
/** So many failures in a row count as being disconnected, and are told. */
export const RETRY_TOLD_AFTER = 3;
/** A kind that isn't installed is looked for again after this long. */
export const ABSENT_RETRY_MS = 10_000;
/** How many answers in a row have to say that a kind is gone until its objects are. */
export const ABSENT_ANSWERS = 3;
/** A kind that we may not read is tried again after this long: rights are given while it runs. */
export const FORBIDDEN_RETRY_MS = 10_000;
/** Every kind is listed anew after this long, half of it added by chance: what no fault of a stream told is healed so. */
export const RELIST_MS = 3_600_000;
/** Changes come together for this long. */
export const CHANGE_BATCH_MS = 5;
/** A retry that keeps failing is told again after this long. */
export const FAILURE_LOG_MS = 60_000;
