/** What the webhook gives to one caller and to all of them together: anybody in the cluster may call it. */
export interface AdmissionLimits {
  /** Of one review. The API server takes objects of 3 MiB at most. */
  readonly bodyBytesMax: number;
  /** Of all reviews that are being read, each beyond `smallBodyBytesMax`. */
  readonly bodiesBytesMax: number;
  /** Of a review that is read whatever others are: those of most pods, so that large ones never stand in their way. */
  readonly smallBodyBytesMax: number;
  /** Request line and headers. */
  readonly headBytesMax: number;
  readonly connectionsMax: number;
  /** From the first byte of a request to its last. */
  readonly requestMs: number;
  readonly handshakeMs: number;
  /** Longer than API servers keep an idle connection (90 s), so that they are the ones to close it. */
  readonly idleMs: number;
  /** Between the end of the last request and the end of the process. */
  readonly drainMs: number;
}

export const DEFAULT_ADMISSION_LIMITS: AdmissionLimits = {
  bodyBytesMax: 4 * 1024 * 1024,
  bodiesBytesMax: 16 * 1024 * 1024,
  smallBodyBytesMax: 64 * 1024,
  headBytesMax: 16 * 1024,
  connectionsMax: 256,
  requestMs: 10_000,
  handshakeMs: 5_000,
  idleMs: 120_000,
  drainMs: 3_000,
};

/** Of what a person reads: warnings of one answer, and the characters of each (Kubernetes shows 256). */
export const warningsMax = 16;
export const warningCharsMax = 256;
export const messageCharsMax = 2_048;

/** Of one review: a pod of 256 containers has some ten thousand values, a dozen deep. */
export const reviewValuesMax = 100_000;
export const reviewDepthMax = 100;
