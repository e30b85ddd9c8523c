import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { applyJsonPatch } from '../../cli/local/json-patch.ts';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import { INJECTION_OPTIONS, injectionCases } from '../../test/support/injection-cases.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { injectPod } from '../patch/inject.ts';
import { answerReview, type ReviewAnswer } from './review.ts';

leakCheck();

const runs = 300;
const PODS = injectionCases().map(({ pod }) => pod);

function answer(text: string): ReviewAnswer {
  return answerReview(text, (pod, namespace) => injectPod(pod, { ...INJECTION_OPTIONS, namespace }));
}

function review(object: unknown, more: object = {}): string {
  return JSON.stringify({
    ...{ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' },
    request: {
      ...{ uid: 'u-1', resource: { group: '', version: 'v1', resource: 'pods' }, namespace: 'shop' },
      ...{ operation: 'CREATE', object, ...more },
    },
  });
}

/** What an answer to a request must be, whatever the request was. */
function assertAnswered(answered: ReviewAnswer, pod: JsonValue | undefined): void {
  if (answered.kind === 'malformed') {
    assert.ok(answered.message.length > 0);
    return;
  }
  const { response } = answered.body;
  assert.ok(isJsonObject(response) && response.uid === 'u-1');
  if (response.allowed === true) {
    if (response.patch === undefined) return;
    const patch = JSON.parse(Buffer.from(String(response.patch), 'base64').toString()) as JsonValue[];
    assert.ok(pod !== undefined && applyJsonPatch(pod, patch).ok, 'the patch applies');
  } else {
    const { status } = response;
    assert.ok(isJsonObject(status) && typeof status.message === 'string' && status.message.length > 0);
  }
}

/** One value somewhere in a pod replaced by any other. */
function mutated(pod: JsonValue, steps: readonly number[], value: JsonValue): JsonValue {
  const [step, ...rest] = steps;
  if (step === undefined || typeof pod !== 'object' || pod === null) return value;
  if (Array.isArray(pod)) {
    if (pod.length === 0) return value;
    const index = step % pod.length;
    return pod.map((one: JsonValue, at) => (at === index ? mutated(one, rest, value) : one));
  }
  const entries = Object.entries(pod);
  if (entries.length === 0) return value;
  const index = step % entries.length;
  return Object.fromEntries(
    entries.map(([key, one], at) => [key, at === index ? mutated(one ?? null, rest, value) : one]),
  );
}

const path = fc.array(fc.nat(40), { minLength: 1, maxLength: 8 });
const anything = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<JsonValue>;

test('pods with anything in any place get an answer, and a patch that applies', () => {
  fc.assert(
    fc.property(fc.constantFrom(...PODS), path, anything, (pod, steps, value) => {
      const changed = mutated(pod, steps, value);
      assertAnswered(answer(review(changed)), changed);
    }),
    { numRuns: runs },
  );
});

test('requests with anything in any place get an answer', () => {
  const whole = JSON.parse(review(PODS[0])) as JsonValue;
  fc.assert(
    fc.property(path, anything, (steps, value) => {
      const answered = answer(JSON.stringify(mutated(whole, steps, value)));
      if (answered.kind === 'malformed') assert.ok(answered.message.length > 0);
      else assert.ok(isJsonObject(answered.body.response));
    }),
    { numRuns: runs },
  );
});

test('bytes that are cut, doubled or not text at all get an answer', () => {
  const text = review(PODS[1]);
  fc.assert(
    fc.property(
      fc.nat(text.length),
      fc.nat(text.length),
      fc.string({ unit: 'binary' }),
      (from, to, noise) => {
        const answered = answer(text.slice(0, from) + noise + text.slice(to));
        assert.ok(answered.kind === 'review' || answered.message.length > 0);
      },
    ),
    { numRuns: runs },
  );
});

test('names that objects have by birth are names like others', () => {
  const object =
    '{"kind":"Pod","metadata":{"name":"x","labels":{"__proto__":"a","constructor":"b"},"annotations":{"__proto__":"c","toString":"d"}},"spec":{"containers":[{"name":"constructor","ports":[{"containerPort":80}],"readinessProbe":{"httpGet":{"port":80}}}]}}';
  const answered = answer(review('POD').replace('"POD"', object));
  assert.ok(answered.kind === 'review');
  assert.equal(answered.decision.outcome, 'injected');
  const { patch } = answered.body.response as { readonly patch: string };
  assert.match(Buffer.from(patch, 'base64').toString(), /\/app-health\/constructor\/readyz/);
  assert.equal(({} as Record<string, unknown>).a, undefined);
});
