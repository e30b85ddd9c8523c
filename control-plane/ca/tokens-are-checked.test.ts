import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { localTokenAuthenticator, noTokens, tokenBytesMax, tokenLeewayMs } from './token.ts';

const ISSUER = 'heddle-local';
const clock = new VirtualClock();
const nowSeconds = clock.wallMs() / 1000;
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
const authenticator = localTokenAuthenticator(publicPem, ISSUER, clock);

const HEADER = { alg: 'ES256', typ: 'JWT' };
const CLAIMS = {
  iss: ISSUER,
  aud: ['heddle-ca'],
  sub: 'system:serviceaccount:shop:web',
  exp: nowSeconds + 3600,
  'kubernetes.io': { pod: { name: 'web-1' } },
};
type Claims = Readonly<Record<string, unknown>>;

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');

function token(claims: Claims = {}, header: Claims = HEADER, key: KeyObject = privateKey): string {
  const signed = `${encode(header)}.${encode({ ...CLAIMS, ...claims })}`;
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

/** The payload exchanged under a good signature. */
function tampered(): string {
  const [header, , signature] = token().split('.');
  return `${header}.${encode({ ...CLAIMS, sub: 'system:serviceaccount:shop:payments' })}.${signature}`;
}

/** HMAC keyed with the public key, for verifiers that let the token choose how it is verified. */
function hmac(): string {
  const signed = `${encode({ alg: 'HS256' })}.${encode(CLAIMS)}`;
  return `${signed}.${createHmac('sha256', publicPem).update(signed).digest('base64url')}`;
}

function derSigned(): string {
  const signed = `${encode(HEADER)}.${encode(CLAIMS)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
}

const [head, body, signature] = token().split('.');
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ['no signature, as the token says', `${encode({ alg: 'none' })}.${encode(CLAIMS)}.`, /not a JWT/],
  ['alg none with a signature', token({}, { alg: 'none' }), /ES256/],
  ['alg None', token({}, { alg: 'None' }), /ES256/],
  ['an HMAC with the public key', hmac(), /ES256/],
  ['ES384', token({}, { alg: 'ES384' }), /ES256/],
  ['no alg', token({}, {}), /ES256/],
  ['critical extensions', token({}, { ...HEADER, crit: ['b64'], b64: false }), /critical/],
  ['another key', token({}, HEADER, stranger), /signature is not valid/],
  ['another payload', tampered(), /signature is not valid/],
  ['a signature in DER', derSigned(), /signature is not valid/],
  ['a signature of zeros', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`, /not valid/],
  ['a signature cut short', `${head}.${body}.${signature?.slice(0, -4)}`, /not valid/],
  ['another issuer', token({ iss: 'elsewhere' }), /issuer must be heddle-local/],
  ['no issuer', token({ iss: undefined }), /issuer/],
  ['another audience', token({ aud: ['api'] }), /audience must be heddle-ca/],
  ['an audience that only begins so', token({ aud: 'heddle-ca2' }), /audience/],
  ['no audience', token({ aud: undefined }), /audience/],
  ['expired', token({ exp: nowSeconds - 1 }), /expired/],
  ['expired at this moment', token({ exp: nowSeconds }), /expired/],
  ['no expiry', token({ exp: undefined }), /expired/],
  ['an expiry in words', token({ exp: 'never' }), /expired/],
  ['not valid yet', token({ nbf: nowSeconds + tokenLeewayMs / 1000 + 1 }), /not valid yet/],
  ['a beginning in words', token({ nbf: 'now' }), /not valid yet/],
  ['no subject', token({ sub: undefined }), /not a service account/],
  ['a user', token({ sub: 'system:admin' }), /not a service account/],
  ['a subject without account', token({ sub: 'system:serviceaccount:shop' }), /not a service account/],
  ['a subject of too many parts', token({ sub: 'system:serviceaccount:shop:web:x' }), /not a service/],
  ['a namespace with a slash', token({ sub: 'system:serviceaccount:shop/sa/x:web' }), /not a service/],
  ['a namespace that ends in a dash', token({ sub: 'system:serviceaccount:shop-:web' }), /not a service/],
  ['capitals', token({ sub: 'system:serviceaccount:Shop:web' }), /not a service account/],
  ['a line break', token({ sub: 'system:serviceaccount:shop:web\n' }), /not a service account/],
  [
    'an account name too long',
    token({ sub: `system:serviceaccount:shop:${'w'.repeat(254)}` }),
    /not a service/,
  ],
  ['claims that are a list', `${head}.${encode([])}.${signature}`, /signature is not valid/],
  ['nothing', '', /not a JWT/],
  ['a word', 'token', /not a JWT/],
  ['five parts', 'a.b.c.d.e', /not a JWT/],
  ['no base64', 'a.b.ü', /not a JWT/],
  ['parts that are no JSON', 'YQ.YQ.YQ', /ES256/],
  ['too large', `${'a'.repeat(tokenBytesMax)}.b.c`, /larger than/],
];

for (const [what, text, message] of REFUSED) {
  test(`refused: ${what}`, async () => {
    const result = await authenticator.authenticate(text);
    assert.ok(!result.ok, 'it was accepted');
    assert.equal(result.error.code, 'bad-token');
    assert.match(result.error.message, message);
  });
}

const identity = async (text: string) => {
  const result = await authenticator.authenticate(text);
  return result.ok ? result.value : result.error.message;
};

test('a token of the issuer says whose it is and which pod it is bound to', async () => {
  const expected = { namespace: 'shop', serviceAccount: 'web', pod: 'web-1' };
  assert.deepEqual(await identity(token()), expected);
  assert.deepEqual(await identity(token({ aud: 'heddle-ca' })), expected);
  assert.deepEqual(await identity(token({ aud: ['api', 'heddle-ca'] })), expected);
  assert.deepEqual(await identity(token({ nbf: nowSeconds + tokenLeewayMs / 1000 })), expected);
  assert.deepEqual(await identity(token({ 'kubernetes.io': null })), { ...expected, pod: undefined });
});

test('a key that is not on P-256 is refused where it is configured', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  const pem = rsa.export({ type: 'spki', format: 'pem' }).toString();
  assert.throws(() => localTokenAuthenticator(pem, ISSUER, clock), { code: 'bad-issuer-key' });
});

test('a key that is no PEM is refused with what to do', () => {
  assert.throws(() => localTokenAuthenticator('x', ISSUER, clock), {
    code: 'bad-issuer-key',
    message: /--token-issuer-key must be a public key in PEM/,
  });
});

test('where no issuer is configured no token is taken', async () => {
  const result = await noTokens.authenticate(token());
  assert.match(result.ok ? '' : result.error.message, /--token-issuer-key/);
});
