import https from 'node:https';
import tls, { type TLSSocket } from 'node:tls';

export const WEBHOOK_NAME = 'heddle-injector.heddle-system.svc';

export interface WebhookAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface CallOptions {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: https.Agent;
  readonly servername?: string;
  readonly localAddress?: string;
}

/** Calls the webhook as an API server does: by its DNS name, checked against the mesh's root. Without one, as kubelet probes. */
export function callWebhook(
  port: number,
  rootPem: string | undefined,
  body: string | Buffer,
  options: CallOptions = {},
): Promise<WebhookAnswer> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        ...{ host: '127.0.0.1', port, servername: options.servername ?? WEBHOOK_NAME },
        ...(rootPem === undefined ? { rejectUnauthorized: false } : { ca: rootPem }),
        ...{ method: options.method ?? 'POST', path: options.path ?? '/inject?timeout=10s' },
        headers: { 'content-type': 'application/json', ...options.headers },
        agent: options.agent ?? false,
        ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            ...{ status: response.statusCode ?? 0, headers: response.headers },
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** A TLS connection to say anything on. `closed` settles with what was heard. */
export async function openConnection(port: number, rootPem: string): Promise<RawConnection> {
  const socket = tls.connect({ host: '127.0.0.1', port, ca: rootPem, servername: WEBHOOK_NAME });
  let heard = '';
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1');
  });
  // A reset by the server is one of the ways to be closed.
  socket.on('error', () => socket.destroy());
  const closed = new Promise<string>((resolve) => {
    socket.once('close', () => resolve(heard));
  });
  const opened = new Promise<void>((resolve) => {
    socket.once('secureConnect', () => resolve());
  });
  await Promise.race([opened, closed]);
  return { socket, heard: () => heard, closed };
}

export interface RawConnection {
  readonly socket: TLSSocket;
  readonly closed: Promise<string>;
  heard(): string;
}

/** The review of a pod as the API server sends one. */
export function reviewOf(pod: object, uid = 'u-1', request: object = {}): string {
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid,
      kind: { group: '', version: 'v1', kind: 'Pod' },
      resource: { group: '', version: 'v1', resource: 'pods' },
      ...{ namespace: 'shop', operation: 'CREATE', object: pod, oldObject: null, dryRun: false },
      ...request,
    },
  });
}
