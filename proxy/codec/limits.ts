/** Every bound of the data path, with its unit last. A connection that reaches one is answered or closed, never waited for. */
export interface EngineLimits {
  /** Request line or status line and fields together. */
  readonly headerBytesMax: number;
  readonly headerCountMax: number;
  /** Options of Connection. */
  readonly connectionOptionsMax: number;
  readonly trailerBytesMax: number;
  /** The line of one chunk: its size and extensions. */
  readonly chunkLineBytesMax: number;
  /** From the first byte of a request head to its last; then 408. */
  readonly headerReadMs: number;
  /** A client connection without a request. */
  readonly keepAliveIdleMs: number;
  /** How long an answered client may go on sending the body that nobody wants, and how much of it. */
  readonly lingerMs: number;
  readonly lingerBytesMax: number;
  /** How long what nobody wants is waited for where nothing comes. */
  readonly lingerQuietMs: number;
  /** How long the rest of an answer is kept for a client that reads nothing of it. */
  readonly unreadAnswerMs: number;
  /** How long an attempt goes on for a client that closed its sending side. */
  readonly halfClosedMs: number;
  /** How long a tunnel's TLS side that has finished sending may take nothing of what it is sent. */
  readonly halfClosedStallMs: number;
  /** Interim (1xx) responses before one final one. */
  readonly interimResponsesMax: number;
  /** First bytes held to tell one protocol from another. */
  readonly detectionBytesMax: number;
  /** A TLS ClientHello. */
  readonly helloBytesMax: number;
  readonly helloReadMs: number;
  readonly handshakeMs: number;
  /** How long a sidecar that has stopped listening goes on with connections it had just accepted. */
  readonly retireMs: number;
  /** Client connections at once, both directions together. */
  readonly connectionsMax: number;
  /** Idle upstream connections kept for one endpoint. */
  readonly idleConnectionsMax: number;
  /** An upstream connection older than this is not used again. */
  readonly connectionLifetimeMs: number;
  /** An idle connection as old as this carries no unsafe request: the peer may be closing it. */
  readonly unsafeReuseMs: number;
  /** How long an idle connection is kept until a peer's own habit is known. */
  readonly idleUnknownPeerMs: number;
  /** Bytes of a request body held while no upstream connection takes them. */
  readonly bodyHoldBytesMax: number;
  /** Copies of requests under way, of all requests together. Beyond it no copy is made. */
  readonly mirrorsInFlightMax: number;
  /** Bytes of one request's body held for a mirror that doesn't take them as fast as they come. Beyond it the copy is given up. */
  readonly mirrorBufferBytesMax: number;
  /** The same, of all copies together. */
  readonly mirrorsBufferBytesMax: number;
  /** How long a mirror may take to answer where its rule's timeouts leave it longer. */
  readonly mirrorAnswerMs: number;
  /** Of a mirror's answer, which is read and thrown away. Beyond it its connection is closed. */
  readonly mirrorAnswerBytesMax: number;
  /** How long an inbound connection waits for the first configuration. */
  readonly configWaitMs: number;
  /** Connecting and idling where no cluster's policy says otherwise: the own app, and destinations outside the mesh. */
  readonly connectMs: number;
  /** Silence on an opaque connection, or on a request that no policy's `idle` applies to. */
  readonly tunnelIdleMs: number;
  /** Connections to the own app, or to one destination outside the mesh. */
  readonly plainConnectionsMax: number;
  readonly plainPendingMax: number;
}

export const DEFAULT_LIMITS: EngineLimits = {
  headerBytesMax: 65_536,
  headerCountMax: 200,
  connectionOptionsMax: 32,
  trailerBytesMax: 8_192,
  chunkLineBytesMax: 1_024,
  headerReadMs: 10_000,
  keepAliveIdleMs: 300_000,
  lingerMs: 30_000,
  lingerBytesMax: 1_073_741_824,
  lingerQuietMs: 1_000,
  unreadAnswerMs: 300_000,
  halfClosedMs: 1_000,
  halfClosedStallMs: 60_000,
  interimResponsesMax: 16,
  detectionBytesMax: 8_192,
  helloBytesMax: 32_768,
  helloReadMs: 5_000,
  handshakeMs: 10_000,
  retireMs: 2_000,
  connectionsMax: 16_384,
  idleConnectionsMax: 128,
  connectionLifetimeMs: 3_600_000,
  unsafeReuseMs: 1_000,
  idleUnknownPeerMs: 4_000,
  bodyHoldBytesMax: 65_536,
  mirrorsInFlightMax: 1_024,
  mirrorBufferBytesMax: 1_048_576,
  mirrorsBufferBytesMax: 33_554_432,
  mirrorAnswerMs: 30_000,
  mirrorAnswerBytesMax: 16_777_216,
  configWaitMs: 1_000,
  connectMs: 2_000,
  tunnelIdleMs: 3_600_000,
  plainConnectionsMax: 4_096,
  plainPendingMax: 1_024,
};
