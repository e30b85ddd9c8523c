import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textAt } from '../../cli/kube/fields.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { INJECTION_OPTIONS } from '../../test/support/injection-cases.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { injectPod } from '../patch/inject.ts';
import { messageCharsMax, reviewDepthMax, reviewValuesMax, warningCharsMax, warningsMax } from './limits.ts';
import { answerReview, type ReviewAnswer } from './review.ts';

leakCheck();

const POD = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'web-' } },
  spec: { containers: [{ name: 'app', image: 'shop' }] },
};
const REQUEST = {
  uid: '705ab4f5',
  kind: { group: '', version: 'v1', kind: 'Pod' },
  resource: { group: '', version: 'v1', resource: 'pods' },
  namespace: 'shop',
  operation: 'CREATE',
  object: POD,
  oldObject: null,
  dryRun: false,
};

function answer(text: string): ReviewAnswer {
  return answerReview(text, (pod, namespace) => injectPod(pod, { ...INJECTION_OPTIONS, namespace }));
}

function review(request: unknown, top: JsonObject = {}): ReviewAnswer {
  return answer(
    JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request, ...top }),
  );
}

function responseTo(request: object) {
  const answered = review({ ...REQUEST, ...request });
  assert.ok(answered.kind === 'review');
  const response = answered.body.response as Readonly<Record<string, JsonValue>>;
  return { response, decision: answered.decision };
}

test('a pod gets its patch, and the answer is the one to its request', () => {
  const answered = review(REQUEST);
  assert.ok(answered.kind === 'review');
  assert.equal(answered.body.apiVersion, 'admission.k8s.io/v1');
  assert.equal(answered.body.kind, 'AdmissionReview');
  const { response, decision } = responseTo({});
  const { uid, allowed, patchType, patch, ...rest } = response;
  assert.deepEqual({ uid, allowed, patchType }, { uid: '705ab4f5', allowed: true, patchType: 'JSONPatch' });
  assert.deepEqual(rest, {});
  const operations = JSON.parse(Buffer.from(String(patch), 'base64').toString()) as JsonValue[];
  assert.equal(textAt(operations.at(-1), 'path'), '/spec/initContainers');
  assert.deepEqual(decision, {
    ...{ outcome: 'injected', uid: '705ab4f5', namespace: 'shop', pod: 'web-*', dryRun: false, reason: '' },
  });
});

test('a dry run gets the same answer: there are no side effects', () => {
  const { response, decision } = responseTo({ dryRun: true });
  assert.deepEqual(response, responseTo({}).response);
  assert.equal(decision.dryRun, true);
});

test('a pod that stays without is allowed, with the reason in the log', () => {
  const { response, decision } = responseTo({ namespace: 'kube-system' });
  assert.deepEqual(response, { uid: '705ab4f5', allowed: true });
  assert.deepEqual(
    [decision.outcome, decision.reason],
    ['skipped', 'pods of kube-system are never injected'],
  );
});

test('a pod that can not be injected is refused with what to change', () => {
  const object = { ...POD, metadata: { name: 'web-1', annotations: { 'heddle.dev/log-level': 'loud' } } };
  const { response, decision } = responseTo({ object });
  assert.equal(response.allowed, false);
  const message = 'the annotation heddle.dev/log-level must be debug, info, warn or error, not "loud"';
  assert.deepEqual(response.status, { status: 'Failure', code: 422, reason: 'Invalid', message });
  assert.deepEqual([decision.outcome, decision.pod, decision.reason], ['refused', 'web-1', message]);
});

test('warnings reach whoever created the pod, no more than fit', () => {
  const annotations = Object.fromEntries(
    Array.from({ length: warningsMax + 1 }, (_, index) => [`heddle.dev/${'x'.repeat(300)}${index}`, '']),
  );
  const { response } = responseTo({ object: { ...POD, metadata: { name: 'web', annotations } } });
  const warnings = response.warnings as readonly string[];
  assert.equal(warnings.length, warningsMax);
  for (const warning of warnings) {
    assert.match(warning, /^heddle: the annotation heddle\.dev\/x/);
    assert.equal(warning.length, warningCharsMax);
  }
});

test('a refusal is as long as a person reads', () => {
  const labels = { 'heddle.dev/inject': 'x'.repeat(10_000) };
  const { response } = responseTo({ object: { ...POD, metadata: { name: 'web', labels } } });
  assert.equal(textAt(response, 'status', 'message')?.length, messageCharsMax);
});

test('what is not the creation of a pod is let through, what is not a pod is refused', () => {
  for (const request of [
    { operation: 'UPDATE' },
    { operation: 'DELETE' },
    { subResource: 'ephemeralcontainers' },
  ])
    assert.deepEqual(responseTo(request).response, { uid: '705ab4f5', allowed: true });
  for (const request of [
    { resource: { group: 'apps', version: 'v1', resource: 'deployments' } },
    { resource: undefined },
    { namespace: '' },
    { object: null },
    { object: { kind: 'Deployment' } },
  ])
    assert.equal(responseTo(request).response.allowed, false, JSON.stringify(request));
});

test('what has no request to answer is malformed, each with its remedy', () => {
  const malformed: readonly (readonly [ReviewAnswer, RegExp])[] = [
    [answer(''), /not JSON/],
    [answer('{"apiVersion":'), /not JSON/],
    [answer('\u0000\u0001\u0002'), /not JSON/],
    [answer('null'), /not an AdmissionReview/],
    [answer('[]'), /not an AdmissionReview/],
    [answer('"AdmissionReview"'), /not an AdmissionReview/],
    [review(REQUEST, { kind: 'Pod' }), /not an AdmissionReview/],
    [review(REQUEST, { apiVersion: 'admission.k8s.io/v1beta1' }), /set admissionReviewVersions to \[v1\]/],
    [review(undefined), /no request/],
    [review([REQUEST]), /no request/],
    [review({ ...REQUEST, uid: undefined }), /no uid/],
    [review({ ...REQUEST, uid: 7 }), /no uid/],
    [review({ ...REQUEST, uid: '' }), /no uid/],
    [review({ ...REQUEST, uid: 'u'.repeat(257) }), /no uid/],
  ];
  for (const [answered, message] of malformed) {
    assert.ok(answered.kind === 'malformed', String(message));
    assert.match(answered.message, message);
  }
});

/** A review whose pod has `json` among its volumes, as text: no object can hold what is tried here. */
function reviewText(json: string): string {
  const object = { ...POD, spec: { ...POD.spec, volumes: ['HERE'] } };
  const request = { ...REQUEST, object };
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request }).replace(
    '"HERE"',
    () => json,
  );
}

test('the log repeats no more of a request than a person reads', () => {
  const labels = { 'heddle.dev/rev': 'r'.repeat(10_000) };
  const { decision } = responseTo({
    namespace: 'n'.repeat(10_000),
    object: { ...POD, metadata: { name: 'p'.repeat(10_000), labels } },
  });
  const { namespace, pod, reason } = decision;
  assert.deepEqual(
    [namespace.length, pod.length, reason.length],
    [warningCharsMax, warningCharsMax, messageCharsMax],
  );
});

test('nesting without end is answered before it is parsed', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  for (const text of [nested(1_000_000), reviewText(nested(1_000_000)), '{"a":'.repeat(reviewDepthMax + 1)])
    assert.deepEqual(answer(text), {
      kind: 'malformed',
      message: `the review is nested deeper than ${reviewDepthMax}`,
    });
  assert.equal(answer(reviewText(nested(reviewDepthMax - 10))).kind, 'review');
});

test('more values than a pod has are answered before they are parsed, and texts are not taken for them', () => {
  const message = `the review holds more than ${reviewValuesMax} values`;
  for (const one of ['{}', '[]', '0', '{"a":1}', '"\\",[{"'])
    assert.deepEqual(
      answer(
        reviewText(
          Array(reviewValuesMax + 1)
            .fill(one)
            .join(','),
        ),
      ),
      {
        kind: 'malformed',
        message,
      },
    );
  assert.equal(answer(reviewText(JSON.stringify(',[{"\\'.repeat(reviewValuesMax)))).kind, 'review');
  assert.equal(
    answer(
      reviewText(
        Array(reviewValuesMax - 100)
          .fill('0')
          .join(','),
      ),
    ).kind,
    'review',
  );
});

test('ports without number are no more to be told than one', () => {
  const ports = Array.from({ length: 40_000 }, () => ({ containerPort: 15001 }));
  const { response } = responseTo({ object: { ...POD, spec: { containers: [{ name: 'app', ports }] } } });
  assert.equal(
    textAt(response, 'status', 'message'),
    'container app has the port 15001, which the sidecar listens on: choose another',
  );
});
