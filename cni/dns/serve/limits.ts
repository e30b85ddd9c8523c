export interface ServeLimits {
  readonly tcpConnectionsMax: number;
  readonly tcpConnectionsPerClientMax: number;
  /** Questions of one connection under way; further ones are read when an answer is out. */
  readonly tcpPipelinedMax: number;
  /** Answers that a client doesn't take: reading pauses above it. */
  readonly tcpUnsentBytesMax: number;
  /** A connection without a whole question for this long is closed (RFC 7766 section 6.2.3). */
  readonly tcpIdleMs: number;
  /** Answers that the kernel doesn't take; above it they are dropped, as UDP may. */
  readonly udpUnsentBytesMax: number;
  readonly udpReceiveBufferBytes: number;
  /** How long a closing server waits for answers under way. */
  readonly drainMs: number;
}

export const DEFAULT_SERVE_LIMITS: ServeLimits = {
  tcpConnectionsMax: 1024,
  tcpConnectionsPerClientMax: 64,
  tcpPipelinedMax: 32,
  tcpUnsentBytesMax: 256 * 1024,
  tcpIdleMs: 10_000,
  udpUnsentBytesMax: 4 * 1024 * 1024,
  udpReceiveBufferBytes: 4 * 1024 * 1024,
  drainMs: 5_000,
};
