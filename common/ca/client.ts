import { readFile } from 'node:fs/promises';
import { Metadata } from '@grpc/grpc-js';
import { HeddleError } from '../errors.ts';
import { IstioCertificateServiceClient } from '../gen/istio/v1/auth/ca.ts';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from './control-plane-tls.ts';

export const caCallTimeoutMs = 5_000;

export interface CaClientOptions {
  /** host:port. */
  readonly controlPlane: string;
  readonly trustDomain: string;
  readonly tokenFile: string;
  readonly rootFile: string;
  /** Milliseconds since the Unix epoch, for the call's deadline. */
  readonly wallMs: () => number;
}

interface SignedChain {
  /** PEM, leaf first, the root not included. */
  readonly certificateChainPem: string;
  /** PEM: the roots of the file, and the one that the CA answered with. */
  readonly rootsPem: string;
}

/** Sends a CSR. Token and roots are read anew each time: both change under a running pod. */
export type RequestCertificate = (csrPem: string) => Promise<SignedChain>;

/** Asks the mesh CA over gRPC. Rejects with `HeddleError` (`ca-refused`, `ca-unavailable`). */
export function caClient(options: CaClientOptions): RequestCertificate {
  return async (csrPem) => {
    const token = (await readFile(options.tokenFile, 'utf8')).trim();
    const roots = await readFile(options.rootFile, 'utf8');
    const chain = await call(options, token, roots, csrPem);
    const root = chain.at(-1);
    if (chain.length < 2 || root === undefined) {
      throw new HeddleError('ca-refused', 'the CA answered without a leaf and a root');
    }
    return { certificateChainPem: chain.slice(0, -1).join(''), rootsPem: joinRoots(roots, root) };
  };
}

/** Keeps each root once. */
function joinRoots(fromFile: string, fromCa: string): string {
  const blocks = `${fromFile}\n${fromCa}`.match(
    /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g,
  );
  return `${[...new Set((blocks ?? []).map((block) => block.replaceAll('\r', '')))].join('\n')}\n`;
}

function call(options: CaClientOptions, token: string, roots: string, csr: string): Promise<string[]> {
  const client = new IstioCertificateServiceClient(
    options.controlPlane,
    controlPlaneCredentials(options.trustDomain, roots),
    CHANNEL_OPTIONS,
  );
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return new Promise<string[]>((resolve, reject) => {
    client.createCertificate(
      { csr, validityDuration: 0 },
      metadata,
      { deadline: options.wallMs() + caCallTimeoutMs },
      (error, response) => {
        client.close();
        if (error === null) resolve(response.certChain);
        else {
          const code = error.code === 14 || error.code === 4 ? 'ca-unavailable' : 'ca-refused';
          reject(new HeddleError(code, `no certificate: ${error.details}`));
        }
      },
    );
  });
}
