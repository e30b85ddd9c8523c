import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Node } from '../../common/gen/envoy/config/core/v3/base.ts';
import type { AggregatedDiscoveryServiceServer } from '../../common/gen/envoy/service/discovery/v3/ads.ts';
import { type Changes, EVERYTHING } from '../translate/changes.ts';
import type { ProxyInfo } from '../view.ts';
import { DeltaSession } from './delta.ts';
import { StateOfTheWorldSession } from './state-of-the-world.ts';
import { fail, type Session, Stream, type StreamOptions } from './stream.ts';
import type { DeliveryTracker } from './tracker.ts';

export interface XdsServer {
  readonly service: AggregatedDiscoveryServiceServer;
  /**
   * To be called once a new translation is in force: pushes what changed to whom it concerns. `changes` are those since
   * the translation of the call before.
   */
  changed(changes?: Changes): void;
  trackers(): readonly DeliveryTracker[];
  close(): void;
}

type OpenStream = Pick<Stream<never, never>, 'changed' | 'end' | 'refuse' | 'tracker'>;

/** The aggregated discovery service. It holds streams; sessions hold what each of them knows. */
export function xdsServer(options: StreamOptions): XdsServer {
  const { limits, log } = options;
  const streams = new Set<OpenStream>();
  /** Admitted ones, oldest first. */
  const byPod = new Map<string, OpenStream[]>();

  const admitted = (pod: string, stream: OpenStream) => {
    const siblings = byPod.get(pod) ?? [];
    byPod.set(pod, [...siblings, stream]);
    // A pod that lost its connection comes back before the silence of the old one is noticed.
    if (siblings.length >= limits.streamsPerPodMax) {
      siblings[0]?.refuse(status.ABORTED, `the pod has opened ${limits.streamsPerPodMax} newer streams`);
    }
  };
  const ended = (pod: string | undefined, stream: OpenStream) => {
    streams.delete(stream);
    if (pod === undefined) return;
    const left = (byPod.get(pod) ?? []).filter((other) => other !== stream);
    if (left.length > 0) byPod.set(pod, left);
    else byPod.delete(pod);
  };
  const accept = <Request extends { node?: Node | undefined }, Response>(
    call: ServerDuplexStream<Request, Response>,
    protocol: ProxyInfo['protocol'],
    makeSession: (tracker: DeliveryTracker) => Session<Request, Response>,
  ) => {
    const peer = call.getAuthContext().sslPeerCertificate;
    // Before anything is kept for it: whoever has no certificate takes nobody's place.
    if (peer === undefined) {
      log.warn('xDS stream refused', { reason: 'no client certificate of this mesh', from: call.getPeer() });
      fail(call, status.UNAUTHENTICATED, 'a client certificate of this mesh is needed');
      return;
    }
    if (streams.size >= limits.streamsMax) {
      fail(call, status.RESOURCE_EXHAUSTED, `more than ${limits.streamsMax} streams`);
      return;
    }
    const stream: Stream<Request, Response> = new Stream(
      {
        ...{ call, peer, protocol, makeSession },
        onAdmitted: (pod) => admitted(pod, stream),
        onEnd: (pod) => ended(pod, stream),
      },
      options,
    );
    streams.add(stream);
  };
  return {
    service: {
      deltaAggregatedResources: (call) =>
        accept(call, 'delta', (tracker) => new DeltaSession(tracker, limits)),
      streamAggregatedResources: (call) =>
        accept(call, 'state-of-the-world', (tracker) => new StateOfTheWorldSession(tracker, limits)),
    },
    changed(changes = EVERYTHING) {
      for (const stream of [...streams]) stream.changed(changes);
    },
    trackers: () => [...streams].flatMap(({ tracker }) => (tracker === undefined ? [] : [tracker])),
    close() {
      for (const stream of [...streams]) stream.end();
    },
  };
}
