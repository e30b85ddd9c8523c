import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { APP_HOST, EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  harness.service();
  apps = harness.app();
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** A client that has said `text`, and the app's end of its first connection. */
async function asked(text: string): Promise<{ client: Talker; app: Talker }> {
  const client = harness.dial();
  client.say(text);
  await harness.run();
  const app = apps[0];
  assert.ok(app !== undefined, `the app is reached; the client heard: ${client.heard}`);
  return { client, app };
}

async function says(talker: Talker, text: string): Promise<void> {
  talker.say(text);
  await harness.run();
}

test('fields of the connection stay on it, others keep bytes, casing and order', async () => {
  const { app } = await asked(
    'GET /a?b HTTP/1.1\r\nX-First: One\r\nHost: catalog\r\nConnection: keep-alive, X-Named\r\nx-named: 1\r\n' +
      'Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: secret\r\nTE: gzip, trailers\r\n' +
      'Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX-LAST:  two  \r\n\r\n',
  );
  assert.ok(app.heard.startsWith('GET /a?b HTTP/1.1\r\nX-First: One\r\nHost: catalog\r\nX-LAST:  two  \r\n'));
  for (const gone of ['x-named', 'Keep-Alive', 'Proxy-', 'gzip', 'Upgrade', 'HTTP2']) {
    assert.equal(app.heard.includes(gone), false, gone);
  }
  assert.match(app.heard, /\r\nconnection: te\r\nte: trailers\r\n/);
});

test('the mesh writes its own fields and believes none that came in', async () => {
  const { app } = await asked(
    'GET / HTTP/1.1\r\nHost: catalog\r\nX-Forwarded-Client-Cert: URI=spiffe://evil\r\n' +
      'x_forwarded-Client_CERT: URI=spiffe://evil\r\nX-Request-Id: mine\r\n' +
      'Traceparent: 00-old\r\nX-Heddle-Attempt: 2\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n',
  );
  assert.equal(/client.cert/i.test(app.heard), false);
  assert.match(app.heard, /x-request-id: request-1\r\n/);
  assert.match(app.heard, /x-heddle-attempt: 2\r\n/);
  assert.match(app.heard, /x-forwarded-for: 1\.2\.3\.4, 10\.0\.0\.1\r\n/);
  assert.equal(app.heard.includes('00-old'), false);
});

test('an absolute target overrides Host and goes on as a path', async () => {
  const { app } = await asked('GET http://catalog:80/x?y=1 HTTP/1.1\r\nHost: elsewhere\r\n\r\n');
  assert.ok(app.heard.startsWith('GET /x?y=1 HTTP/1.1\r\nhost: catalog:80\r\n'));
  assert.equal(app.heard.includes('elsewhere'), false);
});

test('pipelined requests are answered in order on one connection', async () => {
  const { client, app } = await asked(
    GET.replace('/a', '/1') + GET.replace('/a', '/2') + GET.replace('/a', '/3'),
  );
  for (const path of ['/1', '/2', '/3']) {
    assert.ok(app.take().startsWith(`GET ${path} `));
    await says(app, `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${path}`);
    assert.ok(client.take().endsWith(`\r\n\r\n${path}`));
  }
  assert.equal(apps.length, 1);
});

test('empty lines before a request are skipped, in whatever pieces they come', async () => {
  const text = `\r\n\r\n${GET}`;
  for (let at = 1; at < 6; at++) {
    const client = harness.dial();
    client.say(text.slice(0, at));
    await harness.run();
    client.say(text.slice(at));
    await harness.run();
    assert.match(apps.at(-1)?.take() ?? '', /^GET \/a HTTP\/1\.1\r\n/, `split at ${at}`);
    client.stream.destroy();
    await harness.run();
  }
});

test('a chunked body keeps its trailers; extensions and dangerous trailers are left out', async () => {
  const { client, app } = await asked(
    'POST / HTTP/1.1\r\nHost: catalog\r\nTransfer-Encoding: chunked\r\n\r\n' +
      '3;x="y"\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\nHost: evil\r\n\r\n',
  );
  assert.ok(app.heard.endsWith('\r\n\r\n5\r\nabcde\r\n0\r\nX-Sum: 5\r\n\r\n'));
  await says(app, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n');
  assert.ok(client.heard.endsWith('5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n'));
});

test('bodies that HEAD, 204 and 304 can not have are not read as anything', async () => {
  for (const [request, head] of [
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 4'],
    ['HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked'],
    ['GET', 'HTTP/1.1 204 No Content\r\nContent-Length: 4'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 4'],
  ] as const) {
    const { client } = await asked(`${request} / HTTP/1.1\r\nHost: catalog\r\n\r\n`);
    const app = apps.at(-1) as Talker;
    await says(app, `${head}\r\n\r\nevil`);
    assert.equal(client.take().includes('evil'), false);
    // The connection to the app is not used again: those bytes could pass for the next answer.
    assert.equal(app.ended, true);
    await says(client, GET);
    await says(apps.at(-1) as Talker, OK);
    assert.match(client.take(), /ok$/);
    client.stream.destroy();
    await harness.run();
  }
});

test('HEAD, 204 and 304 have no body whatever their fields say', async () => {
  const { client, app } = await asked('HEAD / HTTP/1.1\r\nHost: catalog\r\n\r\n');
  await says(app, 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n');
  assert.equal(client.take(), 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n');
  await says(client, GET);
  await says(app, 'HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n');
  assert.equal(client.take(), 'HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n');
  await says(client, GET);
  await says(app, 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n');
  assert.equal(client.take(), 'HTTP/1.1 204 No Content\r\n\r\n');
  assert.equal(apps.length, 1);
});

test('a body that ends with the connection becomes chunked for HTTP/1.1', async () => {
  const { client, app } = await asked(GET);
  await says(app, 'HTTP/1.1 200 OK\r\n\r\nabc');
  app.stream.end();
  await harness.run();
  assert.equal(client.take(), 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n');
  assert.equal(client.ended, false);
});

test('an HTTP/1.0 client gets no chunks, and its connection ends', async () => {
  const { client, app } = await asked('GET / HTTP/1.0\r\nHost: catalog\r\n\r\n');
  await says(app, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n');
  assert.equal(client.heard, 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc');
  assert.equal(client.ended, true);
});

test('an HTTP/1.0 client that asks to keep its connection keeps it', async () => {
  const { client, app } = await asked('GET / HTTP/1.0\r\nHost: catalog\r\nConnection: keep-alive\r\n\r\n');
  await says(app, OK);
  assert.match(client.heard, /connection: keep-alive\r\n/);
  assert.equal(client.ended, false);
});

test('an option of Connection takes neither Host nor Expect from the app', async () => {
  const { app } = await asked(
    'PUT / HTTP/1.1\r\nHost: catalog\r\nExpect: 100-continue\r\nX-Named: 1\r\n' +
      'Connection: host, expect, x-named, content-length\r\nContent-Length: 4\r\n\r\nbody',
  );
  assert.match(app.heard, /Host: catalog\r\nExpect: 100-continue\r\ncontent-length: 4\r\n[\s\S]*body$/);
});

test('a field that Connection names is not there for routing, not at a second attempt either', async () => {
  harness.service({ retry: { codes: [503] } });
  const { app } = await asked(
    'GET / HTTP/1.1\r\nHost: catalog\r\nX-User: beta\r\nX-Forwarded-For: 6.6.6.6\r\n' +
      'Connection: x-user, x-forwarded-for\r\n\r\n',
  );
  const { view } = harness.fakes.telemetry.opened[0] ?? {};
  assert.equal(view?.header('x-user'), undefined);
  await says(app, 'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n');
  await harness.clock.advance(50);
  const heard = apps.map((one) => one.heard).join('');
  assert.equal(heard.split('x-forwarded-for: 10.0.0.1\r\n').length, 3);
  assert.equal(/x-user|6\.6\.6\.6/i.test(heard), false);
});

test('the reason field of an app is taken off: only the mesh speaks there', async () => {
  const { client, app } = await asked(GET);
  await says(app, 'HTTP/1.1 503 Busy\r\nX-Heddle-Reason: app-refused\r\nContent-Length: 0\r\n\r\n');
  assert.equal(client.heard, 'HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n');
});

test('route rules edit fields on the way out and back', async () => {
  harness.service({
    host: 'edited',
    rule: {
      requestHeaders: { set: [['X-Set', 'new']], add: [['X-Add', 'more']], remove: ['x-remove'] },
      responseHeaders: { set: [['Server', 'mesh']], add: [], remove: ['x-secret'] },
    },
  });
  const { client, app } = await asked(
    'GET / HTTP/1.1\r\nHost: edited\r\nx-set: old\r\nX-Add: one\r\nX-Remove: 1\r\n\r\n',
  );
  assert.match(app.heard, /\r\nX-Add: one\r\nX-Set: new\r\nX-Add: more\r\n/);
  assert.equal(/x-remove|old/i.test(app.heard), false);
  await says(app, 'HTTP/1.1 200 OK\r\nServer: app\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n');
  assert.equal(client.heard, 'HTTP/1.1 200 OK\r\nServer: mesh\r\ncontent-length: 0\r\n\r\n');
});

test('a place outside the mesh is passed through, or refused where the mesh says so', async () => {
  const outside = harness.app('10.9.9.9', 80);
  const client = harness.dial();
  client.say('GET http://outside.example/ HTTP/1.1\r\nHost: outside.example\r\n\r\n');
  await harness.run();
  assert.ok(outside[0]?.heard.startsWith('GET / HTTP/1.1\r\nhost: outside.example\r\n'));
  await says(outside[0] as Talker, OK);
  assert.match(client.take(), /^HTTP\/1\.1 200/);
  harness.fakes.config.settings({ outboundUnknown: 'DENY' });
  await says(client, 'GET http://outside.example/ HTTP/1.1\r\nHost: outside.example\r\n\r\n');
  assert.match(client.take(), /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: unknown-destination\r\n/);
});

test('a destination that nothing is known of yet is refused, not sent in plaintext', async () => {
  harness.fakes.config.found = () => Promise.resolve({ kind: 'unavailable' });
  const client = harness.dial();
  client.say(GET);
  await harness.run();
  assert.match(client.heard, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: config-unavailable\r\n/);
});

test('an answer of the mesh keeps the connection where the request is whole', async () => {
  harness.service({ host: 'none', answer: 'no-route' });
  const client = harness.dial();
  client.say('POST / HTTP/1.1\r\nHost: none\r\nContent-Length: 2\r\n\r\nab'.repeat(3));
  await harness.run();
  assert.equal(client.heard.split('HTTP/1.1 404 Not Found').length, 4);
  assert.equal(client.ended, false);
});

test('a thousand pipelined requests answered by the mesh do not pile up on the stack', async () => {
  harness.service({ host: 'none', answer: 'no-route' });
  const client = harness.dial();
  client.say('HEAD / HTTP/1.1\r\nHost: none\r\n\r\n'.repeat(1_000));
  for (let turn = 0; turn < 100; turn++) await harness.run();
  assert.equal(client.heard.split('HTTP/1.1 404').length, 1_001);
});

test('the app is told nothing of a client by its proxy hop when dialled directly', async () => {
  const { app } = await asked('OPTIONS * HTTP/1.1\r\nHost: catalog\r\n\r\n');
  assert.ok(app.heard.startsWith('OPTIONS * HTTP/1.1\r\nHost: catalog\r\n'));
  assert.equal(app.stream.localAddress, APP_HOST);
});
test('a path goes on as it was routed, whatever a reader might make of it', async () => {
  for (const target of [
    ...[
      '/a/../b',
      '/a/./b',
      '/%2e%2e/b',
      '/%2E%2e%2fb',
      '//b',
      '/a//b',
      '/a;x=1/b',
      '/a%00b',
      '/a%0d%0ab',
      '/%61',
    ],
    ...['/a\\..\\b', '/a?b?c', '/?', '/a%', '/caf\xc3\xa9', `/${'a'.repeat(8_000)}`],
  ]) {
    const { client } = await asked(`GET ${target} HTTP/1.1\r\nHost: catalog\r\n\r\n`);
    const { view } = harness.fakes.telemetry.opened.at(-1) ?? {};
    const mark = target.indexOf('?');
    assert.equal(view?.path, mark < 0 ? target : target.slice(0, mark));
    assert.equal(view?.query, mark < 0 ? '' : target.slice(mark + 1));
    const app = apps.at(-1) as Talker;
    assert.ok(app.take().startsWith(`GET ${target} HTTP/1.1\r\n`), target);
    client.stream.destroy();
    await harness.run();
  }
});
