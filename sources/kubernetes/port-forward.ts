import type { Duplex } from 'node:stream';
import type { Clock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { opened, PodStream, type PodTarget, type SocketOpener, socketOpener } from './pod-stream.ts';

/** A port inside a pod. */
export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

/** Opens one connection to a port of a pod. Rejects with codes `kubernetes-unreachable` or `port-forward`. */
export type PodDialer = (target: PodPort) => Promise<Duplex>;

/** Each port has two channels: what is carried, and why it can't be (kubelet, `v4.channel.k8s.io`). */
const DATA_CHANNEL = 0;
const ERROR_CHANNEL = 1;
/** The first message of each channel repeats the port, in two bytes. */
const PORT_BYTES = 2;

/**
 * Connections to pods as `kubectl port-forward` makes them, by a kubeconfig: API server, kubelet, the pod's own loopback.
 * Each connection has a WebSocket for itself, since a channel can't be used twice.
 */
export async function podDialer(
  kubeconfig: string,
  context: string | undefined,
  clock: Clock,
): Promise<PodDialer> {
  return dialThrough(await socketOpener(kubeconfig, context), clock);
}

/** The dialer over any opener of WebSockets. */
export function dialThrough(open: SocketOpener, clock: Clock): PodDialer {
  return (to) => {
    const { namespace, pod, port } = to;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/portforward?ports=${port}`;
    return opened(new ForwardStream(targetOf(to), DATA_CHANNEL, clock), { open, path, clock });
  };
}

function targetOf({ namespace, pod, port }: PodPort): PodTarget {
  const name = `port ${port} of pod ${namespace}/${pod}`;
  const failure = (message: string) => new HeddleError('port-forward', message);
  return {
    name,
    refusal(status) {
      switch (status) {
        case '401':
        case '403':
          return failure(
            `the API server refuses a port-forward to ${name} (${status}): you need the right to get and create pods/portforward in namespace ${namespace}`,
          );
        case '404':
          return failure(`pod ${namespace}/${pod} is gone`);
        default:
          return failure(`the API server answers a port-forward to ${name} with ${status}`);
      }
    },
  };
}

/** One connection to a port. */
class ForwardStream extends PodStream {
  /** Channels whose first message has come. */
  readonly #begun = new Set<number>();

  protected override message(channel: number, bytes: Buffer): void {
    const payload = this.#begun.has(channel) ? bytes : bytes.subarray(PORT_BYTES);
    this.#begun.add(channel);
    if (channel === DATA_CHANNEL) this.carry(payload);
    else if (channel === ERROR_CHANNEL && payload.byteLength > 0) {
      const why = payload.toString('utf8').trim();
      this.fail(new HeddleError('port-forward', `${this.target.name} can't be reached: ${why}`));
    }
  }
}
