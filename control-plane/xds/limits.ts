/** What one xDS server and one of its streams may hold. */
export interface XdsLimits {
  /** Open streams, all clients together. */
  readonly streamsMax: number;
  /** Open streams of one pod: it needs one, and another while it changes to a new certificate. The oldest makes room. */
  readonly streamsPerPodMax: number;
  /** Names that one stream may be subscribed to, all types together. */
  readonly subscriptionsMax: number;
  /** Size of one request. */
  readonly requestBytesMax: number;
  /** Length of one resource name. */
  readonly nameBytesMax: number;
  /** Responses sent and neither acknowledged nor refused. */
  readonly responsesUnansweredMax: number;
  /** Size of the resources in these. With that many on their way, a client is sent nothing more until it answers. */
  readonly bytesUnansweredMax: number;
  /** Payload of one delta response; a single larger resource travels alone. */
  readonly responseBytesMax: number;
  /** How long a stream may take to say who it is, and a pod to become known: it may be seconds old. */
  readonly admissionWaitMs: number;
}

export const DEFAULT_XDS_LIMITS: XdsLimits = {
  streamsMax: 5_000,
  streamsPerPodMax: 4,
  subscriptionsMax: 20_000,
  requestBytesMax: 1024 * 1024,
  nameBytesMax: 512,
  responsesUnansweredMax: 100,
  bytesUnansweredMax: 4 * 1024 * 1024,
  responseBytesMax: 1024 * 1024,
  admissionWaitMs: 2_000,
};
