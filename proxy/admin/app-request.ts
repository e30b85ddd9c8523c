import http from 'node:http';
import { isIP } from 'node:net';
import tls from 'node:tls';
import type { Dialer, DialTarget } from '../../common/net.ts';

export interface AppRequest {
  readonly target: DialTarget;
  readonly path: string;
  /** As they are sent; `host` among them, and a name that has several values once for each. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** TLS without a look at the certificate: it is asked whether the app is alive, not who it is. */
  readonly tls: boolean;
}

/**
 * One GET on a connection of its own. Resolves with the response's head; its body is the caller's to read or destroy.
 * Rejects with the signal's reason once that is aborted, otherwise with what went wrong.
 */
export function askApp(
  dialer: Dialer,
  asked: AppRequest,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const stream = dialer.dial(asked.target);
    const failed = (error: unknown) => {
      stream.destroy();
      reject(signal.aborted ? signal.reason : error);
    };
    stream.on('error', failed);
    signal.addEventListener('abort', () => failed(signal.reason));
    stream.once('connect', () => {
      // What can't be written throws here, where nobody else would catch it.
      try {
        const { host } = asked.target;
        const carrier = asked.tls
          ? tls.connect({
              ...{ socket: stream, rejectUnauthorized: false },
              ...(isIP(host) === 0 ? { servername: host } : {}),
            })
          : stream;
        const request = http.request(
          {
            // Without an agent: any, `false` too, would dial by itself.
            ...{ path: asked.path, setHost: false, createConnection: () => carrier },
            headers: [...asked.headers, ['connection', 'close']].flat(),
          },
          resolve,
        );
        request.on('error', failed);
        request.end();
      } catch (thrown) {
        failed(thrown);
      }
    });
  });
}
