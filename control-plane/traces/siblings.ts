import { Client, type ServiceError, status } from '@grpc/grpc-js';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from '../../common/ca/control-plane-tls.ts';
import type { Clock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { destinationKey } from '../../common/names.ts';
import type { Mesh } from '../../model/mesh.ts';
import type { Sibling } from './mesh-traces.ts';
import { type Question, storedTraces } from './questions.ts';
import { SIBLING_SERVICE, siblingAnswerBytesMax } from './sibling-service.ts';

/** A person waits for the answer: a replica that takes longer is left out of it, and named. */
export const siblingAnswerMs = 2_000;
/** After silence a replica isn't asked anew for so long: each answer would wait for it again. */
const siblingRestMs = 5_000;
/** How soon after a failure a connection is tried again, at most. */
const reconnectMaxMs = 5_000;
/** Asked at once. Whoever runs more replicas sees the first by name, and is told of the others. */
export const siblingsMax = 16;

/** Whose account is the control plane's has its identity: the pod is asked over mTLS as nobody else. */
const SERVICE_ACCOUNT = 'heddle-control-plane';

export interface SiblingPod {
  /** Its name. */
  readonly name: string;
  readonly host: string;
}

/**
 * The pods of the other replicas, of every revision, by name. One stays among them until it is gone, ready or not: what is
 * missing while it doesn't answer is to be told.
 */
export function siblingPods(
  mesh: Pick<Mesh, 'workloads'>,
  own: { readonly namespace: string; readonly replica: string },
): readonly SiblingPod[] {
  const pods: SiblingPod[] = [];
  for (const { namespace, name, serviceAccount, ips } of mesh.workloads.values()) {
    if (namespace !== own.namespace || serviceAccount !== SERVICE_ACCOUNT || name === own.replica) continue;
    const [host] = ips;
    // Without an address it has not begun to run.
    if (host !== undefined) pods.push({ name, host });
  }
  return pods.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export interface SiblingsOptions {
  readonly pods: () => readonly SiblingPod[];
  /** The port of xDS, which is the same in all replicas. */
  readonly port: number;
  readonly trustDomain: string;
  readonly trustBundlePem: () => string;
  /** This replica's own certificate, as it is now. */
  readonly own: () => { readonly certificatePem: string; readonly privateKeyPem: string };
  readonly clock: Clock;
}

interface Connection {
  readonly client: Client;
  readonly address: string;
  /** What it was made with: roots and certificates change under a running process. */
  readonly credentials: string;
  /** Since it last said nothing in time. */
  silentSinceMs: number | undefined;
}

/** Asks other replicas for what their own stores know, over mTLS with the control plane's identity at both ends. */
export class Siblings {
  readonly #options: SiblingsOptions;
  /** By the pod's name. */
  readonly #connections = new Map<string, Connection>();

  constructor(options: SiblingsOptions) {
    this.#options = options;
  }

  list(): readonly Sibling[] {
    const pods = this.#options.pods();
    this.#forget(new Set(pods.map(({ name }) => name)));
    return pods.map((pod, index) => ({
      name: pod.name,
      traces: storedTraces((question) => {
        if (index < siblingsMax) return this.#ask(pod, question);
        return Promise.reject(new HeddleError('limit', `only ${siblingsMax} replicas are asked at once`));
      }),
    }));
  }

  close(): void {
    this.#forget(new Set());
  }

  #forget(names: ReadonlySet<string>): void {
    for (const [name, { client }] of this.#connections) {
      if (names.has(name)) continue;
      client.close();
      this.#connections.delete(name);
    }
  }

  async #ask(pod: SiblingPod, question: Question): Promise<unknown> {
    const { clock } = this.#options;
    const connection = this.#connectionTo(pod);
    const { client, silentSinceMs } = connection;
    if (silentSinceMs !== undefined && clock.now() - silentSinceMs < siblingRestMs)
      throw new HeddleError('unreachable', silence);
    const { path, requestSerialize, responseDeserialize } = SIBLING_SERVICE.ask;
    const deadline = clock.wallMs() + siblingAnswerMs;
    const answer = await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(
        ...([path, requestSerialize, responseDeserialize] as const),
        ...([Buffer.from(JSON.stringify(question)), { deadline }] as const),
        (error, bytes) => {
          if (error === null && bytes !== undefined) resolve(bytes);
          else reject(error ?? new HeddleError('unreachable', silence));
        },
      );
    }).catch((error: ServiceError | HeddleError) => {
      connection.silentSinceMs = error.code === status.DEADLINE_EXCEEDED ? clock.now() : undefined;
      throw new HeddleError('unreachable', reasonOf(error), { cause: error });
    });
    connection.silentSinceMs = undefined;
    return JSON.parse(answer.toString('utf8')) as unknown;
  }

  #connectionTo({ name, host }: SiblingPod): Connection {
    const { trustDomain, port } = this.#options;
    const roots = this.#options.trustBundlePem();
    const { certificatePem, privateKeyPem } = this.#options.own();
    const address = destinationKey(host, port);
    const credentials = certificatePem + roots;
    const known = this.#connections.get(name);
    if (known?.address === address && known.credentials === credentials) return known;
    known?.client.close();
    const client = new Client(
      address,
      controlPlaneCredentials(trustDomain, roots, { certificateChainPem: certificatePem, privateKeyPem }),
      {
        ...CHANNEL_OPTIONS,
        'grpc.max_receive_message_length': siblingAnswerBytesMax,
        'grpc.max_reconnect_backoff_ms': reconnectMaxMs,
      },
    );
    const made = { client, address, credentials, silentSinceMs: known?.silentSinceMs };
    this.#connections.set(name, made);
    return made;
  }
}

const silence = `it gave no answer within ${siblingAnswerMs} ms`;

function reasonOf({ code, message }: ServiceError | HeddleError): string {
  switch (code) {
    case status.DEADLINE_EXCEEDED:
      return silence;
    case status.UNAVAILABLE:
      return "it can't be reached";
    case status.UNIMPLEMENTED:
      return 'it is of another release, which does not tell its traces';
    case status.RESOURCE_EXHAUSTED:
      return `its answer is larger than ${siblingAnswerBytesMax} bytes: ask for fewer traces`;
    default:
      return message;
  }
}
