import { Metadata } from '@grpc/grpc-js';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from '../../../common/ca/control-plane-tls.ts';
import { makeKeyAndRequest } from '../../../common/ca/csr.ts';
import { DEFAULT_TRUST_DOMAIN } from '../../../common/contracts.ts';
import { IstioCertificateServiceClient } from '../../../common/gen/istio/v1/auth/ca.ts';
import { nowMs } from '../../support/simulated-sidecar.ts';
import type { BenchSidecar, CertificateOutcome, CertificatePlan } from './messages.ts';

const CALL_MS_MAX = 30_000;

export interface CertificateSource {
  readonly controlPlane: string;
  readonly rootPem: string;
  readonly specs: readonly BenchSidecar[];
}

/** Has the control plane sign requests, made before the clock starts, each with its workload's own token. */
export async function requestCertificates(
  { requests, parallel, fresh }: CertificatePlan,
  { controlPlane, rootPem, specs }: CertificateSource,
): Promise<CertificateOutcome> {
  const prepared = Array.from({ length: requests }, (_, index) => {
    const { uri = '', token = '' } = specs[index % specs.length] ?? {};
    return { token, csr: makeKeyAndRequest(uri).csrPem };
  });
  const credentials = controlPlaneCredentials(DEFAULT_TRUST_DOMAIN, rootPem);
  const connect = () => new IstioCertificateServiceClient(controlPlane, credentials, CHANNEL_OPTIONS);
  const failures: string[] = [];
  let issued = 0;
  const startMs = nowMs();
  const lane = async () => {
    let client = connect();
    for (let next = prepared.pop(); next !== undefined; next = prepared.pop()) {
      const failure = await ask(client, next.csr, next.token);
      if (failure === undefined) issued++;
      else failures.push(failure);
      if (!fresh) continue;
      client.close();
      client = connect();
    }
    client.close();
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  return { issued, failures: [...new Set(failures)], tookMs: nowMs() - startMs };
}

/** Undefined where a certificate came; else why not. */
function ask(client: IstioCertificateServiceClient, csr: string, token: string): Promise<string | undefined> {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return new Promise((resolve) => {
    client.createCertificate(
      { csr, validityDuration: 0 },
      metadata,
      { deadline: Date.now() + CALL_MS_MAX },
      (error) => resolve(error === null ? undefined : `${error.code} ${error.details}`),
    );
  });
}
