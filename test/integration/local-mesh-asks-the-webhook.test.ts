import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { admitPod, answerBytesMax, webhookSelects } from '../../cli/local/admission.ts';
import { AdmissionGate } from '../../cli/local/admission-gate.ts';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { leakCheck } from '../support/leak-check.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

leakCheck();

const pod: KubeObject = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web-1', namespace: 'shop', uid: 'u' } },
  spec: { containers: [] },
};
let directory: string;
let files: { readonly key: string; readonly cert: string; readonly otherCert: string };
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-webhook-'));
  const make = (name: string, host: string) => {
    const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.pem`)];
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${host}`, '-days', '2'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    execFileSync('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...subject], {
      stdio: 'ignore',
    });
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  };
  const own = make('webhook', 'heddle-injector.heddle-system.svc');
  files = { ...own, otherCert: make('other', 'heddle-injector.heddle-system.svc').cert };
});
after(() => rmSync(directory, { recursive: true, force: true }));

type Answer = (review: { request: { uid: string } }) => { status?: number; text: string } | undefined;

/** A webhook that answers as told; what the runner makes of it. */
async function asked(answer: Answer, rootPem = files.cert, timeoutMs = 5_000): Promise<string> {
  const server = https.createServer(files, async (request: IncomingMessage, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const answered = answer(JSON.parse(body));
    if (answered !== undefined) response.writeHead(answered.status ?? 200).end(answered.text);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const result = await admitPod({ port, rootPem }, pod, 'uid-7', timeoutMs);
    return result.ok ? JSON.stringify(result.value.metadata.annotations ?? null) : result.error.message;
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}
const review = (uid: string, response: Record<string, JsonValue>) => ({
  text: JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: { uid, ...response },
  }),
});
const patch = (operations: JsonValue) => Buffer.from(JSON.stringify(operations)).toString('base64');

test('a patch is applied, and no patch leaves the pod as it is', async () => {
  const annotate = [{ op: 'add', path: '/metadata/annotations', value: { a: 'b' } }];
  assert.equal(
    await asked(({ request }) => review(request.uid, { allowed: true, patch: patch(annotate) })),
    '{"a":"b"}',
  );
  assert.equal(await asked(({ request }) => review(request.uid, { allowed: true })), 'null');
});

test('a refusal is told in the words of the webhook', async () => {
  const answer = await asked(({ request }) =>
    review(request.uid, { allowed: false, status: { message: 'uid 1337 is taken' } }),
  );
  assert.equal(answer, 'the injection webhook refused: uid 1337 is taken');
});

test('everything that is not a sound answer refuses the pod, as failurePolicy Fail does', async () => {
  assert.match(await asked(() => review('another', { allowed: true })), /answered another request/);
  assert.match(await asked(() => ({ text: 'hello' })), /could not be asked/);
  assert.match(await asked(() => ({ status: 500, text: '' })), /HTTP status 500/);
  assert.match(
    await asked(({ request }) => review(request.uid, { allowed: true, patch: '!!!' })),
    /no JSON patch/,
  );
  const bad = patch([{ op: 'remove', path: '/nope' }]);
  assert.match(
    await asked(({ request }) => review(request.uid, { allowed: true, patch: bad })),
    /doesn't apply/,
  );
  const gone = patch([{ op: 'remove', path: '/metadata' }]);
  assert.match(
    await asked(({ request }) => review(request.uid, { allowed: true, patch: gone })),
    /leaves no pod/,
  );
});

test('an answer over the limit is not read', async () => {
  assert.match(await asked(() => ({ text: 'x'.repeat(answerBytesMax + 1) })), /an answer over 1048576 bytes/);
});

test('a webhook that says nothing refuses the pod once its time is over', async () => {
  assert.match(await asked(() => undefined, files.cert, 50), /no answer within 50 ms/);
});

test('a webhook with a certificate of another root is not asked', async () => {
  let heard = false;
  const answer = await asked(({ request }) => {
    heard = true;
    return review(request.uid, { allowed: true });
  }, files.otherCert);
  assert.match(answer, /could not be asked: .*certificate/);
  assert.equal(heard, false);
});

test('nobody at the port refuses the pod', async () => {
  const result = await admitPod({ port: 1, rootPem: files.cert }, pod, 'u');
  assert.match(result.ok ? '' : result.error.message, /could not be asked: .*ECONNREFUSED/);
});

const INJECT = 'heddle.dev/inject';
const REVISION = 'heddle.dev/rev';
const selections: readonly [
  namespace: Record<string, string>,
  pod: Record<string, string>,
  asked: boolean,
][] = [
  [{}, {}, false],
  [{ [INJECT]: 'enabled' }, {}, true],
  [{ [INJECT]: 'enabled' }, { [INJECT]: 'disabled' }, false],
  [{}, { [INJECT]: 'enabled' }, true],
  [{ [INJECT]: 'disabled' }, { [INJECT]: 'enabled' }, true],
  [{ [REVISION]: 'default' }, {}, true],
  [{ [REVISION]: 'default' }, { [INJECT]: 'disabled' }, false],
  [{ [REVISION]: 'canary' }, {}, false],
  [{ [REVISION]: 'canary', [INJECT]: 'enabled' }, {}, true],
];
for (const [namespace, labels, expected] of selections)
  test(`a pod ${JSON.stringify(labels)} of a namespace ${JSON.stringify(namespace)} is ${expected ? '' : 'not '}sent to the webhook`, () => {
    assert.equal(webhookSelects('shop', namespace, labels), expected);
  });

test('a pod that is refused is tried again after ever longer pauses, and told why', async () => {
  const clock = new VirtualClock();
  let retries = 0;
  const asks: string[] = [];
  const gate = new AdmissionGate({
    clock,
    webhook: () => ({ port: 1, rootPem: '' }),
    find: (key) =>
      key === 'Namespace//shop'
        ? { ...pod, metadata: { name: 'shop', labels: { [INJECT]: 'enabled' } } }
        : undefined,
    ask: async (_address, _pod, uid) => {
      asks.push(uid);
      return admitPod({ port: 1, rootPem: '' }, pod, uid);
    },
    onRetry: () => {
      retries++;
    },
  });
  const owner = { key: 'Deployment/shop/web', object: pod };
  for (const pauseMs of [250, 500, 1_000, 2_000]) {
    assert.equal(await gate.admit(owner, pod), undefined);
    assert.match(gate.reason(owner.key) ?? '', /could not be asked/);
    assert.equal(gate.waits(owner.key), true);
    const before = retries;
    await clock.advance(pauseMs - 1);
    assert.equal(retries, before);
    await clock.advance(1);
    assert.equal(retries, before + 1);
    assert.equal(gate.waits(owner.key), false);
  }
  assert.equal(new Set(asks).size, 4, 'each question has a uid of its own');
  await gate.admit(owner, pod);
  gate.clear();
  assert.equal(gate.reason(owner.key), undefined);
  await gate.admit(owner, pod);
  gate.close();
  assert.equal(clock.pendingTimers(), 0);
});
