import http from 'node:http';

export interface ClientRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs?: number;
}

export interface ClientResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** An HTTP client as an app in loopback mode is one: absolute-form requests to its sidecar's outbound listener. */
export class ProxyClient {
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
  readonly #proxyHost: string;
  readonly #proxyPort: number;

  constructor(proxyHost: string, proxyPort: number) {
    this.#proxyHost = proxyHost;
    this.#proxyPort = proxyPort;
  }

  request(url: string, options: ClientRequest = {}): Promise<ClientResponse> {
    return new Promise((resolve, reject) => {
      const target = new URL(url);
      const request = http.request(
        {
          host: this.#proxyHost,
          port: this.#proxyPort,
          agent: this.#agent,
          method: options.method ?? 'GET',
          path: url,
          headers: { host: target.host, ...options.headers },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks).toString(),
            }),
          );
        },
      );
      request.setTimeout(options.timeoutMs ?? 15_000, () =>
        request.destroy(new Error(`no answer from ${url}`)),
      );
      request.on('error', reject);
      request.end(options.body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
