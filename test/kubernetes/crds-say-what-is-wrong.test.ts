import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { systemClock } from '../../common/clock.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { StatusBook } from '../../control-plane/status/book.ts';
import type { KubeObject } from '../../model/objects.ts';
import { readTrafficPolicy } from '../../model/policies/attach.ts';
import { readMtlsPolicy } from '../../model/policies/mtls.ts';
import { type FieldError, fieldName } from '../../model/read/fields.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';
import { leakCheck } from '../support/leak-check.ts';
import { build, object, PARENT } from '../support/model-objects.ts';
import { UNSOUND_MTLS_POLICIES, UNSOUND_TRAFFIC_POLICIES } from '../support/policy-cases.ts';
import { mtlsSpecs, trafficSpecs } from '../support/policy-generator.ts';
import { eventually } from '../support/wait.ts';
import { type AdmissionCluster, admissionCluster } from './support/admission-cluster.ts';

leakCheck();

const CRDS = new URL('../../charts/heddle/crds/', import.meta.url);
const POLICY_KINDS = [KINDS.trafficPolicy, KINDS.mtlsPolicy, KINDS.authorizationPolicy] as const;
const ESTABLISHED_MS = 30_000;
const generatedPolicies = 300;

let cluster: AdmissionCluster;
before(async () => {
  cluster = await admissionCluster();
  await cluster.namespace('shop', {});
  for (const file of readdirSync(CRDS)) {
    const crd: JsonObject & KubeObject = parse(readFileSync(new URL(file, CRDS), 'utf8'));
    const { name } = crd.metadata;
    await cluster.client.patch(
      KINDS.customResourceDefinition,
      { name },
      { type: 'apply', body: crd, fieldManager: 'test', force: true },
    );
  }
  for (const kind of POLICY_KINDS)
    await eventually(async () => (await cluster.client.list(kind).catch(() => undefined)) !== undefined, {
      deadlineMs: ESTABLISHED_MS,
      what: `the API server serves ${kind.plural}`,
    });
});
after(() => cluster?.close());

/**
 * What the API server says against a spec; undefined where it takes all of it. A field that it doesn't know it leaves out:
 * kubectl has it refused (`fieldValidation=Strict`).
 */
async function refusal(kind: KubeKind, spec: JsonValue): Promise<string | undefined> {
  const { apiVersion, kind: name } = kind;
  const metadata = { name: 'p', namespace: 'shop' };
  const answer = await cluster.tried(kind, { apiVersion, kind: name, metadata, spec });
  if (typeof answer === 'string') return answer;
  try {
    assert.deepEqual(answer.spec, spec);
  } catch {
    return 'unknown field';
  }
  return undefined;
}

function modelErrors(kind: KubeKind, spec: JsonValue): readonly FieldError[] {
  const sourced = object(kind.apiVersion, kind.kind, 'p', spec);
  return (kind === KINDS.trafficPolicy ? readTrafficPolicy : readMtlsPolicy)(sourced).errors;
}

/** A schema can't see the policy's own namespace: the model says this, in the status. */
const saidByStatus = ({ path }: FieldError) => /targetRefs\[\d+\]\.namespace$/.test(fieldName(path));
/** The schema says at once what the model finds out where it attaches a policy: a backend's block on a route. */
const BACKEND_BLOCKS = ['circuitBreaker', 'outlierEjection', 'limits', 'loadBalancer'];
const saidEarly = (spec: JsonObject, why: string) =>
  /belong to a backend/.test(why) && BACKEND_BLOCKS.some((name) => Object.hasOwn(spec, name));

for (const [name, spec, field, word] of UNSOUND_TRAFFIC_POLICIES) {
  test(`a TrafficPolicy with ${name} is refused by its schema, and ${field} is to blame`, async () => {
    const whole = { targetRefs: [PARENT], ...spec };
    const errors = modelErrors(KINDS.trafficPolicy, whole);
    assert.ok(errors.some(({ message }) => word.test(message)));
    const why = await refusal(KINDS.trafficPolicy, whole);
    if (errors.every(saidByStatus)) return assert.equal(why, undefined);
    assert.match(why ?? '', /TrafficPolicy/);
    assert.ok(why?.includes(`spec.${field}`) || why?.includes(`spec.${parentOf(field)}`), why ?? 'taken');
  });
}

function parentOf(field: string): string {
  return field.replace(/(\.[^.]*|\[\d+\])$/, '');
}

for (const [spec, field] of UNSOUND_MTLS_POLICIES) {
  test(`an MTLSPolicy ${JSON.stringify(spec).slice(0, 60)} is refused by its schema, and ${field} is to blame`, async () => {
    const why = await refusal(KINDS.mtlsPolicy, spec);
    assert.ok(why === 'unknown field' || why?.includes(parentOf(field)), why ?? 'taken');
  });
}

/** What a person reads who made the slip. */
const SAID: readonly (readonly [JsonObject, string])[] = [
  [{ timeouts: { connect: '0s' } }, 'must be at least 1ms'],
  [{ timeouts: { request: '8761h' } }, 'must be at most 8760h (a year)'],
  [{ timeouts: { request: '1s', backendRequest: '2s' } }, 'backendRequest must not be longer than request'],
  [{ retry: { backoff: { base: '2s', max: '1s' } } }, 'base must not be longer than max'],
  [
    { outlierEjection: { baseEjectionTime: '2s', maxEjectionTime: '1s' } },
    'must not be longer than maxEjectionTime',
  ],
  [
    { loadBalancer: { policy: 'Maglev' } },
    'policy Maglev needs a hash: one of header, cookie, query, sourceIp',
  ],
  [{ loadBalancer: { hash: { header: 'a' } } }, 'hash needs policy Maglev'],
  [
    { circuitBreaker: { errorCodes: ['599-500'] } },
    'must be a status or a range such as "500-599", the lower one first',
  ],
  [{ targetRefs: [PARENT, PARENT] }, 'must not name the same target a second time'],
  [{ targetRefs: [{ ...PARENT, sectionName: 'http' }] }, 'a policy holds for all its ports'],
  [{ targetRefs: [{ kind: 'HTTPRoute', name: 'r' }] }, 'group must be gateway.networking.k8s.io'],
  [
    {
      targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r' }],
      limits: { maxRequests: 1 },
    },
    'belong to a backend: attach a policy that sets them to Services only',
  ],
];
for (const [spec, words] of SAID) {
  test(`${JSON.stringify(spec).slice(0, 70)} is refused in words`, async () => {
    const why = await refusal(KINDS.trafficPolicy, { targetRefs: [PARENT], ...spec });
    assert.ok(why?.includes(words), why ?? 'taken');
  });
}

for (const [kind, specs] of [
  [KINDS.trafficPolicy, trafficSpecs],
  [KINDS.mtlsPolicy, mtlsSpecs],
] as const) {
  test(`the schema of ${kind.kind} takes what the model reads, and nothing else`, async () => {
    const seen = { taken: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(specs, async (spec) => {
        const errors = modelErrors(kind, spec).filter((error) => !saidByStatus(error));
        const why = await refusal(kind, spec);
        seen[why === undefined ? 'taken' : 'refused']++;
        const agrees = why === undefined ? errors.length === 0 : errors.length > 0 || saidEarly(spec, why);
        const model = errors.map(({ path, message }) => `${fieldName(path)} ${message}`).join('; ');
        assert.ok(agrees, `schema: ${why}; model: ${model}`);
      }),
      { numRuns: generatedPolicies },
    );
    assert.ok(seen.taken > 30 && seen.refused > 30, JSON.stringify(seen));
  });
}

test('an AuthorizationPolicy is taken as it stands, and slips in it are refused', async () => {
  const rules = [
    {
      from: [{ identities: ['spiffe://cluster.local/ns/shop/sa/web'], namespaces: ['shop'] }],
      to: [{ methods: ['GET'], paths: ['/pay/*'], ports: [8080] }],
    },
  ];
  const spec = { selector: { matchLabels: { app: 'payments' } }, action: 'ALLOW', dryRun: false, rules };
  assert.equal(await refusal(KINDS.authorizationPolicy, spec), undefined);
  const slips: readonly (readonly [JsonObject, RegExp])[] = [
    [{ action: 'allow' }, /spec\.action/],
    [{ rules: [{ from: [{}] }] }, /must have identities, namespaces or both/],
    [{ rules: [{ from: [{ identities: ['web'] }] }] }, /must be a SPIFFE ID/],
    [{ rules: [{ to: [{ paths: ['pay'] }] }] }, /must begin with a slash/],
    [{ rules: [{ to: [{ ports: [0] }] }] }, /ports\[0\]/],
  ];
  for (const [slip, words] of slips)
    assert.match((await refusal(KINDS.authorizationPolicy, { ...spec, ...slip })) ?? '', words);
});

test('nothing is filled in that nobody wrote', async () => {
  const spec = {
    targetRefs: [PARENT],
    circuitBreaker: {},
    retry: { budget: {} },
    loadBalancer: { hash: {} },
  };
  assert.equal(await refusal(KINDS.trafficPolicy, spec), undefined);
});

test('every status that the mesh writes is taken as it stands', async () => {
  const labels = Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [`example.com/label-${index}`, 'x'.repeat(63)]),
  );
  const route = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r', sectionName: 'one' };
  const policies = [
    object('heddle.dev/v1alpha1', 'TrafficPolicy', 'several', {
      targetRefs: [PARENT, { ...PARENT, name: 'x' }, route],
    }),
    object('heddle.dev/v1alpha1', 'MTLSPolicy', 'labels', { selector: { matchLabels: labels } }),
    object('heddle.dev/v1alpha1', 'MTLSPolicy', 'namespace', {}),
    object('heddle.dev/v1alpha1', 'AuthorizationPolicy', 'authz', {}),
  ];
  const book = new StatusBook(systemClock);
  const programmed = {
    type: 'Programmed',
    status: 'True',
    reason: 'Programmed',
    message: 'all 2 sidecars',
  } as const;
  book.update(build(...policies).statuses, { condition: () => programmed });
  for (const { object: policy } of policies) {
    const kind = POLICY_KINDS.find((one) => one.kind === policy.kind);
    const status = book.find(policy.kind, 'shop', policy.metadata.name);
    assert.ok(kind && status);
    const { namespace, name } = policy.metadata;
    await cluster.ensure(kind, { ...policy, metadata: { namespace, name } } as JsonObject);
    const shape = book.shape(status);
    const body = { status: shape };
    const stored = await cluster.client.patchStatus(kind, { namespace, name }, { type: 'merge', body });
    assert.deepEqual(stored.status, shape, policy.kind);
    await cluster.client.delete(kind, { namespace, name });
  }
});
