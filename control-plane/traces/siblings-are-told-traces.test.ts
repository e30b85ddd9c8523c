import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { silentLogger } from '../../common/log.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import type { Question } from './questions.ts';
import { type SiblingService, siblingAnswerBytesMax, siblingService } from './sibling-service.ts';
import { Siblings, siblingsMax } from './siblings.ts';

leakCheck();

const clock = new VirtualClock();
const TOMORROW = new Date(clock.wallMs() + 24 * 3_600_000).toUTCString();
const CONTROL_PLANE = 'URI:spiffe://cluster.local/ns/heddle-system/sa/heddle-control-plane';
const CERTIFICATE = { subjectaltname: `${CONTROL_PLANE}, DNS:localhost`, valid_to: TOMORROW };

interface Asked {
  readonly text?: (question: Question) => Promise<Uint8Array>;
  readonly certificate?: Readonly<Record<string, string>> | undefined;
  readonly question?: string;
}

/** What the service answers: text, or the code of a refusal. */
function ask(asked: Asked): Promise<string | number> {
  const { question = '{"kind":"services"}', text = async ({ kind }) => Buffer.from(kind) } = asked;
  const certificate = 'certificate' in asked ? asked.certificate : CERTIFICATE;
  const service = siblingService({ text, trustDomain: 'cluster.local', clock, log: silentLogger });
  const call = {
    ...{ request: Buffer.from(question), getPeer: () => 'somebody' },
    getAuthContext: () => ({ sslPeerCertificate: certificate }),
  };
  return new Promise((resolve) => {
    // Of a call the service reads these alone.
    service.ask(call as unknown as Parameters<SiblingService['ask']>[0], (error, bytes) => {
      resolve(error === null ? String(bytes) : Number(error.code));
    });
  });
}

test('a control plane is answered, and nobody else', async () => {
  assert.equal(await ask({}), 'services');
  const yesterday = new Date(clock.wallMs() - 1_000).toUTCString();
  for (const certificate of [
    undefined,
    { ...CERTIFICATE, valid_to: yesterday },
    { ...CERTIFICATE, valid_to: 'nonsense' },
    { valid_to: TOMORROW },
    { ...CERTIFICATE, subjectaltname: 'URI:spiffe://cluster.local/ns/shop/sa/heddle-control-plane' },
    { ...CERTIFICATE, subjectaltname: CONTROL_PLANE.replace('cluster.local', 'other.local') },
    { ...CERTIFICATE, subjectaltname: `${CONTROL_PLANE}, URI:spiffe://cluster.local/ns/shop/sa/web` },
    { ...CERTIFICATE, subjectaltname: `DNS:"${CONTROL_PLANE}"` },
  ])
    assert.equal(await ask({ certificate }), status.PERMISSION_DENIED, JSON.stringify(certificate));
});

test('a question of another release, and what is none, are refused as unknown', async () => {
  for (const question of ['{"kind":"profiles"}', '{"kind":"toString"}', '{}', '[]', 'null', '{"kind":', ''])
    assert.equal(await ask({ question }), status.UNIMPLEMENTED, question);
});

test('an answer beyond the limit is not sent, and a store that fails says so', async () => {
  const sized = (bytes: number) => ask({ text: async () => Buffer.alloc(bytes) });
  assert.equal(typeof (await sized(siblingAnswerBytesMax)), 'string');
  assert.equal(await sized(siblingAnswerBytesMax + 1), status.RESOURCE_EXHAUSTED);
  assert.equal(await ask({ text: () => Promise.reject(new Error('disk')) }), status.INTERNAL);
});

test('of many replicas the first are asked, and the others are known to be missing', async () => {
  const pods = Array.from({ length: siblingsMax + 1 }, (_, index) => ({
    name: `cp-${index}`,
    host: '10.0.0.1',
  }));
  const siblings = new Siblings({
    ...{ pods: () => pods, port: 1, trustDomain: 'cluster.local', trustBundlePem: () => '', clock },
    own: () => assert.fail('nobody is to be connected to'),
  });
  const last = siblings.list().at(-1);
  assert.equal(last?.name, `cp-${siblingsMax}`);
  await assert.rejects(last.traces.services(), { code: 'limit', message: /only 16 replicas/ });
  siblings.close();
});
