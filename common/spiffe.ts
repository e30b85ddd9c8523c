export interface WorkloadIdentity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>` (SPIFFE-ID, section 2). */
export function spiffeId(identity: WorkloadIdentity): string {
  return `spiffe://${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}`;
}

const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const ACCOUNT = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** The parts of a workload's SPIFFE ID, or undefined where the text is not exactly one. */
export function parseSpiffeId(text: string): WorkloadIdentity | undefined {
  const match = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(text);
  if (match === null) return undefined;
  const [, trustDomain = '', namespace = '', serviceAccount = ''] = match;
  if (!TRUST_DOMAIN.test(trustDomain) || !NAMESPACE.test(namespace) || !ACCOUNT.test(serviceAccount))
    return undefined;
  return { trustDomain, namespace, serviceAccount };
}
