import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { Metadata, type ServerUnaryCall, status } from '@grpc/grpc-js';
import { makeKeyAndRequest } from '../../common/ca/csr.ts';
import { HeddleError } from '../../common/errors.ts';
import type { IstioCertificateRequest, IstioCertificateResponse } from '../../common/gen/istio/v1/auth/ca.ts';
import { jsonLogger } from '../../common/log.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { type CertificateAuthority, createAuthority, makeRoot } from './authority.ts';
import { Pace } from './pace.ts';
import { caService } from './service.ts';
import type { TokenAuthenticator } from './token.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const URI = 'spiffe://cluster.local/ns/shop/sa/web';

/** Tokens here are `namespace/account`. */
const tokens: TokenAuthenticator = {
  async authenticate(token) {
    const [namespace = '', serviceAccount = ''] = token.split('/');
    if (namespace === 'unknown') return { ok: false, error: new HeddleError('token-unchecked', 'ask again') };
    if (serviceAccount === '') return { ok: false, error: new HeddleError('bad-token', 'not a token') };
    return { ok: true, value: { namespace, serviceAccount, pod: 'web-1' } };
  },
};

interface Asked {
  readonly code: status;
  readonly details: string;
  readonly chain: readonly string[];
  readonly outcomes: readonly string[];
  readonly logged: string;
}

interface Asking {
  readonly authorization?: string | undefined;
  readonly csr?: string;
  readonly seconds?: number;
  readonly authority?: CertificateAuthority;
  readonly pace?: Pace;
}

const clock = new VirtualClock();
const root = makeRoot('cluster.local', 3_650 * DAY_MS, clock);

function ask(asking: Asking = {}): Promise<Asked> {
  const outcomes: string[] = [];
  let logged = '';
  const service = caService({
    authority: asking.authority ?? createAuthority(root, clock),
    tokens,
    trustDomain: () => 'cluster.local',
    leafTtlMs: () => DAY_MS,
    pace: asking.pace ?? new Pace(clock),
    log: jsonLogger(clock, (line) => {
      logged += line;
    }),
    count: (outcome) => outcomes.push(outcome),
  });
  const metadata = new Metadata();
  const authorization = 'authorization' in asking ? asking.authorization : 'Bearer shop/web';
  if (authorization !== undefined) metadata.set('authorization', authorization);
  const request = { csr: asking.csr ?? makeKeyAndRequest(URI).csrPem, validityDuration: asking.seconds ?? 0 };
  const call = { metadata, request } as ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;
  return new Promise((resolve) => {
    service.createCertificate(call, (error, response) => {
      const chain = response?.certChain ?? [];
      const code = error !== null && 'code' in error ? (error.code ?? status.UNKNOWN) : status.OK;
      const details = error !== null && 'details' in error ? (error.details ?? '') : '';
      resolve({ code, details, chain, outcomes, logged });
    });
  });
}

test('a token and a request for its identity get a leaf, and the root behind it', async () => {
  const { code, chain, outcomes, logged } = await ask();
  assert.equal(code, status.OK);
  assert.equal(chain.length, 2);
  const [leaf, issuer] = chain.map((pem) => new X509Certificate(pem));
  assert.ok(leaf !== undefined && issuer !== undefined);
  assert.equal(leaf.subjectAltName, `URI:${URI}`);
  assert.ok(leaf.verify(issuer.publicKey));
  assert.deepEqual(outcomes, ['issued']);
  assert.match(logged, /"pod":"web-1"/);
});

const REFUSED: readonly (readonly [string, Asking, status, string, RegExp])[] = [
  ['no token', { authorization: undefined }, status.UNAUTHENTICATED, 'refused-token', /Bearer/],
  ['another scheme', { authorization: 'Basic shop/web' }, status.UNAUTHENTICATED, 'refused-token', /Bearer/],
  ['a bad token', { authorization: 'Bearer x' }, status.UNAUTHENTICATED, 'refused-token', /not a token/],
  [
    "somebody else's identity",
    { authorization: 'Bearer shop/payments' },
    status.INVALID_ARGUMENT,
    'refused-csr',
    /must be spiffe:\/\/cluster.local\/ns\/shop\/sa\/payments/,
  ],
  ['no request', { csr: '' }, status.INVALID_ARGUMENT, 'refused-csr', /PEM/],
  [
    "the control plane's own identity",
    {
      authorization: 'Bearer heddle-system/heddle-control-plane',
      csr: makeKeyAndRequest('spiffe://cluster.local/ns/heddle-system/sa/heddle-control-plane').csrPem,
    },
    status.UNAUTHENTICATED,
    'refused-token',
    /given to nobody/,
  ],
];

for (const [what, asking, code, outcome, details] of REFUSED) {
  test(`refused: ${what}`, async () => {
    const asked = await ask(asking);
    assert.equal(asked.code, code);
    assert.match(asked.details, details);
    assert.deepEqual(asked.outcomes, [outcome]);
    assert.deepEqual(asked.chain, []);
  });
}

test('a pod that asks without end is told to come back later', async () => {
  const pace = new Pace(clock, { requestsPerMinuteMax: 1, workloadsMax: 10 });
  assert.equal((await ask({ pace })).code, status.OK);
  const refused = await ask({ pace });
  assert.equal(refused.code, status.RESOURCE_EXHAUSTED);
  assert.equal(refused.details, 'too many requests of shop/web-1: ask again later');
  assert.deepEqual(refused.outcomes, ['refused-pace']);
});

test('neither tokens nor requests are logged', async () => {
  const { csrPem } = makeKeyAndRequest(URI);
  const issued = await ask({ csr: csrPem });
  const refused = await ask({ csr: csrPem, authorization: 'Bearer secret-token' });
  for (const { logged } of [issued, refused]) {
    assert.ok(logged.length > 0);
    assert.ok(!logged.includes('secret-token') && !logged.includes(csrPem.split('\n')[1] ?? ''));
  }
});

test('what breaks inside is logged, and not told to the caller', async () => {
  const broken: CertificateAuthority = {
    trustBundlePem: () => '',
    issue: () => {
      throw new Error('the disk is full');
    },
  };
  const asked = await ask({ authority: broken });
  assert.equal(asked.code, status.INTERNAL);
  assert.equal(asked.details, 'the certificate could not be made');
  assert.match(asked.logged, /the disk is full/);
  assert.deepEqual(asked.outcomes, ['failed']);
});

const LIVES: readonly (readonly [number, number])[] = [
  [0, DAY_MS],
  [-1, DAY_MS],
  [3600, HOUR_MS],
  [1, 60_000],
  [7 * 24 * 3600, DAY_MS],
];

for (const [seconds, lifeMs] of LIVES) {
  test(`asked for ${seconds} s of life, a leaf gets ${lifeMs} ms`, async () => {
    const [leaf = ''] = (await ask({ seconds })).chain;
    assert.equal(new X509Certificate(leaf).validToDate.getTime() - clock.wallMs(), lifeMs);
  });
}

test('the injector gets the DNS name by which the API server calls it', async () => {
  const uri = 'spiffe://cluster.local/ns/heddle-system/sa/heddle-injector';
  const [leaf = ''] = (
    await ask({ authorization: 'Bearer heddle-system/heddle-injector', csr: makeKeyAndRequest(uri).csrPem })
  ).chain;
  assert.equal(new X509Certificate(leaf).subjectAltName, `URI:${uri}, DNS:heddle-injector.heddle-system.svc`);
});

test('an injector of another revision gets the name of its own Service', async () => {
  const uri = 'spiffe://cluster.local/ns/heddle-system/sa/heddle-injector-r2';
  const [leaf = ''] = (
    await ask({
      authorization: 'Bearer heddle-system/heddle-injector-r2',
      csr: makeKeyAndRequest(uri).csrPem,
    })
  ).chain;
  assert.equal(
    new X509Certificate(leaf).subjectAltName,
    `URI:${uri}, DNS:heddle-injector-r2.heddle-system.svc`,
  );
});

for (const account of ['heddle-injectors', 'heddle-cni'])
  test(`the account ${account} of the system namespace gets no DNS name`, async () => {
    const uri = `spiffe://cluster.local/ns/heddle-system/sa/${account}`;
    const [leaf = ''] = (
      await ask({ authorization: `Bearer heddle-system/${account}`, csr: makeKeyAndRequest(uri).csrPem })
    ).chain;
    assert.equal(new X509Certificate(leaf).subjectAltName, `URI:${uri}`);
  });

test('the same account in another namespace gets no DNS name', async () => {
  const uri = 'spiffe://cluster.local/ns/shop/sa/heddle-injector';
  const [leaf = ''] = (
    await ask({ authorization: 'Bearer shop/heddle-injector', csr: makeKeyAndRequest(uri).csrPem })
  ).chain;
  assert.equal(new X509Certificate(leaf).subjectAltName, `URI:${uri}`);
});

test('a token that could not be checked is no refusal: the caller is to come back', async () => {
  const asked = await ask({ authorization: 'Bearer unknown/web' });
  assert.equal(asked.code, status.UNAVAILABLE);
  assert.equal(asked.details, 'ask again');
  assert.deepEqual(asked.outcomes, ['unchecked-token']);
});
