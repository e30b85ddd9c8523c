import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { DEFAULT_TRUST_DOMAIN, TOKEN_AUDIENCE } from '../../common/contracts.ts';
import { HeddleError, messageOf, type Result } from '../../common/errors.ts';
import { parseSpiffeId, spiffeId } from '../../common/spiffe.ts';

export const tokenBytesMax = 16 * 1024;
/** How far the issuer's clock may be ahead. */
export const tokenLeewayMs = 10_000;

/** Whose token it is. */
export interface TokenIdentity {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Undefined where the token is not bound to a pod. */
  readonly pod: string | undefined;
}

/**
 * Tells whose a service-account token is: by its signature here, by TokenReview on Kubernetes. An error `bad-token` is
 * about the token; `token-unchecked` says that it could not be looked at now.
 */
export interface TokenAuthenticator {
  authenticate(token: string): Promise<Result<TokenIdentity>>;
}

/** The answer to a token that is no good, however often it is sent. */
export function refusedToken(message: string): { ok: false; error: HeddleError } {
  return { ok: false, error: new HeddleError('bad-token', message) };
}

/** Takes no token: what stands in where no issuer is configured. */
export const noTokens: TokenAuthenticator = {
  authenticate: async () => refusedToken('no token issuer is configured (--token-issuer-key)'),
};

/** Accepts ES256 tokens (RFC 7519, RFC 7518 section 3.4) of one issuer. `publicKeyPem` must be a P-256 key. */
export function localTokenAuthenticator(
  publicKeyPem: string,
  issuer: string,
  clock: Clock,
): TokenAuthenticator {
  const key = readKey(publicKeyPem);
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new HeddleError('bad-issuer-key', 'the token issuer key must be an ECDSA key on P-256');
  }
  return { authenticate: async (token) => check(token, key, issuer, clock.wallMs()) };
}

function readKey(publicKeyPem: string): KeyObject {
  try {
    return createPublicKey(publicKeyPem);
  } catch (thrown) {
    const message = `--token-issuer-key must be a public key in PEM: ${messageOf(thrown)}`;
    throw new HeddleError('bad-issuer-key', message);
  }
}

function check(token: string, key: KeyObject, issuer: string, nowMs: number): Result<TokenIdentity> {
  if (token.length > tokenBytesMax) return refusedToken(`the token is larger than ${tokenBytesMax} bytes`);
  const parts = token.split('.');
  const [header = '', payload = '', signature = ''] = parts;
  if (parts.length !== 3 || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token))
    return refusedToken('the token is not a JWT');
  const head = parse(header);
  if (member(head, 'alg') !== 'ES256') return refusedToken('the token must be signed with ES256');
  // RFC 7515, section 4.1.11: a critical extension that isn't understood makes the token invalid.
  if (member(head, 'crit') !== undefined)
    return refusedToken('the token has critical extensions that are not known');
  const signed = Buffer.from(`${header}.${payload}`);
  const bytes = Buffer.from(signature, 'base64url');
  if (bytes.length !== 64 || !verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, bytes)) {
    return refusedToken("the token's signature is not valid");
  }
  return checkClaims(parse(payload), issuer, nowMs);
}

function checkClaims(claims: unknown, issuer: string, nowMs: number): Result<TokenIdentity> {
  if (member(claims, 'iss') !== issuer) return refusedToken(`the token's issuer must be ${issuer}`);
  const audience = member(claims, 'aud');
  const audiences: unknown[] = Array.isArray(audience) ? audience : [audience];
  if (!audiences.includes(TOKEN_AUDIENCE))
    return refusedToken(`the token's audience must be ${TOKEN_AUDIENCE}`);
  const expires = member(claims, 'exp');
  if (typeof expires !== 'number' || expires * 1000 <= nowMs) return refusedToken('the token has expired');
  const notBefore = member(claims, 'nbf');
  if (
    notBefore !== undefined &&
    !(typeof notBefore === 'number' && notBefore * 1000 <= nowMs + tokenLeewayMs)
  ) {
    return refusedToken('the token is not valid yet');
  }
  const subject = member(claims, 'sub');
  const match = typeof subject === 'string' ? /^system:serviceaccount:([^:]+):([^:]+)$/.exec(subject) : null;
  const [, namespace = '', serviceAccount = ''] = match ?? [];
  // Names that make no SPIFFE ID would be certified, but admitted nowhere.
  if (
    parseSpiffeId(spiffeId({ trustDomain: DEFAULT_TRUST_DOMAIN, namespace, serviceAccount })) === undefined
  ) {
    return refusedToken("the token's subject is not a service account");
  }
  const pod = member(member(member(claims, 'kubernetes.io'), 'pod'), 'name');
  return { ok: true, value: { namespace, serviceAccount, pod: typeof pod === 'string' ? pod : undefined } };
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;
}

function parse(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch (thrown) {
    // Not JSON: then it has none of the members that are asked for, and the caller refuses it by name.
    return thrown instanceof SyntaxError ? undefined : null;
  }
}
