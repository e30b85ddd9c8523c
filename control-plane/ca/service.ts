import { type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import { controlPlaneIdentity } from '../../common/ca/control-plane-tls.ts';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type {
  IstioCertificateRequest,
  IstioCertificateResponse,
  IstioCertificateServiceServer,
} from '../../common/gen/istio/v1/auth/ca.ts';
import type { Logger } from '../../common/log.ts';
import { spiffeId } from '../../common/spiffe.ts';
import type { CertificateAuthority } from './authority.ts';
import { checkCsr } from './csr.ts';
import type { Pace } from './pace.ts';
import type { TokenAuthenticator, TokenIdentity } from './token.ts';

type Outcome = 'issued' | 'refused-token' | 'refused-csr' | 'refused-pace' | 'unchecked-token' | 'failed';

export interface CaServiceOptions {
  readonly authority: CertificateAuthority;
  readonly tokens: TokenAuthenticator;
  readonly trustDomain: () => string;
  readonly leafTtlMs: () => number;
  readonly pace: Pace;
  readonly log: Logger;
  /** Counts outcomes for the metrics page. */
  readonly count: (outcome: Outcome) => void;
}

/** Of the default revision; those of others have its name behind a dash, as their Services have. */
const INJECTOR = { namespace: SYSTEM_NAMESPACE, serviceAccount: 'heddle-injector' };
const LEAF_TTL_MIN_MS = 60_000;

/** `CreateCertificate`: the token says who asks, the CSR brings the key, the answer is the leaf and then the root. */
export function caService(options: CaServiceOptions): IstioCertificateServiceServer {
  return {
    createCertificate(call, answer) {
      create(call, options).then(
        (response) => answer(null, response),
        (thrown: unknown) => refuse(thrown, answer, options),
      );
    },
  };
}

type Call = ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;

async function create(call: Call, options: CaServiceOptions): Promise<IstioCertificateResponse> {
  const header = call.metadata.get('authorization')[0];
  const token = typeof header === 'string' && header.startsWith('Bearer ') ? header.slice(7) : undefined;
  if (token === undefined) {
    throw new HeddleError('bad-token', 'the call needs a service-account token as "authorization: Bearer"');
  }
  const identity = await options.tokens.authenticate(token);
  if (!identity.ok) throw identity.error;
  const { namespace, serviceAccount, pod } = identity.value;
  if (!options.pace.take(`${namespace}/${pod ?? serviceAccount}`)) {
    throw new HeddleError(
      'bad-pace',
      `too many requests of ${namespace}/${pod ?? serviceAccount}: ask again later`,
    );
  }
  const uri = spiffeId({ trustDomain: options.trustDomain(), namespace, serviceAccount });
  if (uri === controlPlaneIdentity(options.trustDomain())) {
    // Whoever had it could hand every sidecar its configuration.
    throw new HeddleError('bad-token', "the control plane's own identity is given to nobody");
  }
  const key = checkCsr(call.request.csr, uri);
  if (!key.ok) throw key.error;
  const leaf = options.authority.issue({
    publicKey: key.value,
    uri,
    dns: dnsNames(identity.value),
    ttlMs: ttlMs(call.request.validityDuration, options.leafTtlMs()),
  });
  options.count('issued');
  const expires = new Date(leaf.notAfterMs).toISOString();
  options.log.info('certificate issued', { identity: uri, pod, expires });
  return { certChain: [leaf.certificatePem, options.authority.trustBundlePem()] };
}

/** A shorter life than the mesh's setting may be asked for, never a longer one. */
function ttlMs(askedSeconds: number, settingMs: number): number {
  return askedSeconds > 0
    ? Math.min(settingMs, Math.max(askedSeconds * 1000, Math.min(LEAF_TTL_MIN_MS, settingMs)))
    : settingMs;
}

/** The API server calls the webhook by its DNS name, which an injector's account and Service have in common. */
function dnsNames({ namespace, serviceAccount }: TokenIdentity): string[] {
  const injector =
    namespace === INJECTOR.namespace &&
    (serviceAccount === INJECTOR.serviceAccount || serviceAccount.startsWith(`${INJECTOR.serviceAccount}-`));
  return injector ? [`${serviceAccount}.${namespace}.svc`] : [];
}

const REFUSALS: Readonly<Record<string, { readonly outcome: Outcome; readonly grpcCode: status }>> = {
  'bad-token': { outcome: 'refused-token', grpcCode: status.UNAUTHENTICATED },
  'bad-csr': { outcome: 'refused-csr', grpcCode: status.INVALID_ARGUMENT },
  'token-unchecked': { outcome: 'unchecked-token', grpcCode: status.UNAVAILABLE },
  'bad-pace': { outcome: 'refused-pace', grpcCode: status.RESOURCE_EXHAUSTED },
};
const FAILED = { outcome: 'failed', grpcCode: status.INTERNAL } as const;

function refuse(
  thrown: unknown,
  answer: sendUnaryData<IstioCertificateResponse>,
  options: CaServiceOptions,
): void {
  const code = thrown instanceof HeddleError ? thrown.code : 'failed';
  const { outcome, grpcCode } = REFUSALS[code] ?? FAILED;
  options.count(outcome);
  options.log.warn('certificate refused', { outcome, reason: messageOf(thrown) });
  // What went wrong inside is for the log, not for the caller.
  answer({
    code: grpcCode,
    details: outcome === 'failed' ? 'the certificate could not be made' : messageOf(thrown),
  });
}
