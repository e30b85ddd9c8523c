import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { ByteStream } from '../../common/net.ts';
import { MemoryNetwork } from '../../test/support/memory-net.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import type { PageHandler } from './answer.ts';
import type { AppProbe } from './app-probe-spec.ts';
import { appProber, type RunAppProbe } from './app-probes.ts';
import { askApp } from './app-request.ts';
import { probeBodyBytesMax, probeRequestsMax } from './http-probe.ts';
import { appScrapeBytesMax, appScrapeMs, metricsPage } from './metrics-page.ts';

const APP = { host: '10.0.0.7', port: 8080 };

let clock: VirtualClock;
let net: MemoryNetwork;
let probe: RunAppProbe;

beforeEach(() => {
  clock = new VirtualClock();
  net = new MemoryNetwork();
  probe = appProber({ clock, dialer: net.dialer, appAddress: (port) => ({ host: APP.host, port }) });
});

const http = (part: Partial<AppProbe & { kind: 'http' }> = {}): AppProbe => ({
  ...{ kind: 'http', timeoutMs: 1_000, port: APP.port, host: undefined, path: '/healthz?full=1', tls: false },
  ...{
    headers: [
      ['Host', 'shop.example'],
      ['X-Probe', 'yes'],
    ],
  },
  ...part,
});

/** An app that answers each connection's first bytes with `reply`, and remembers what it heard. */
function app(reply: string | undefined, port = APP.port): string[] {
  const heard: string[] = [];
  net.listen(APP.host, port, (stream: ByteStream) => {
    stream.on('error', () => stream.destroy());
    let request = '';
    stream.on('data', (chunk: Buffer) => {
      request += chunk.toString();
      if (!request.endsWith('\r\n\r\n')) return;
      heard.push(request);
      if (reply !== undefined) stream.end(reply);
    });
  });
  return heard;
}

const answer = (status: number, ...headers: string[]) =>
  [`HTTP/1.1 ${status} Whatever`, 'content-length: 0', ...headers, '\r\n'].join('\r\n');

test('an HTTP probe asks as its manifest says, and takes 200 to 399 for health', async () => {
  const heard = app(answer(204));
  assert.equal(await probe(http()), undefined);
  assert.match(heard[0] ?? '', /^GET \/healthz\?full=1 HTTP\/1\.1\r\n/);
  assert.match(heard[0] ?? '', /^host: shop\.example\r$/im);
  assert.match(heard[0] ?? '', /^x-probe: yes\r$/im);
  assert.match(heard[0] ?? '', /^user-agent: kube-probe\/heddle\r$/im);
  app(answer(302), 8081);
  assert.equal(await probe(http({ port: 8081 })), undefined, 'a redirect to nowhere');
  app(answer(500), 8082);
  assert.equal(await probe(http({ port: 8082 })), 'the app answered 500');
});

/** The names and values of a request's head, in order. */
const headersIn = (request: string) => request.split('\r\n').slice(1, -2);

test('every header of the manifest is sent, in its order; kubelet adds what is not there', async () => {
  const heard = app(answer(200));
  const headers = (...pairs: [string, string][]) => probe(http({ headers: pairs }));
  await headers(['X-Team', 'a'], ['X-Other', 'b'], ['x-team', 'c'], ['Host', 'one.example'], ['host', 'two']);
  const agent = 'user-agent: kube-probe/heddle';
  assert.deepEqual(headersIn(heard[0] ?? ''), [
    ...['host: one.example', 'X-Team: a', 'X-Other: b', 'x-team: c', agent],
    ...['accept: */*', 'connection: close'],
  ]);
  await headers(['User-Agent', ''], ['Accept', ''], ['Content-Length', '5'], ['Connection', 'keep-alive']);
  assert.deepEqual(headersIn(heard[1] ?? ''), ['host: 10.0.0.7:8080', 'connection: close']);
});

test('a path is escaped where no address could hold it, as kubelet does', async () => {
  const heard = app(answer(200));
  const paths: readonly (readonly [string, string])[] = [
    ['/a b', '/a%20b'],
    ['/ä/%2f;v=1?q=a b&r=%zz#part', '/%C3%A4/%2f;v=1?q=a%20b&r=%zz'],
    ['/a/../b', '/a/../b'],
    ['/a\nb?c', '/a%0Ab%3Fc'],
    ['/50%?c', '/50%25%3Fc'],
    ['/\ud800', '/%EF%BF%BD'],
  ];
  for (const [path, sent] of paths) {
    assert.equal(await probe(http({ path })), undefined, path);
    assert.equal(heard.at(-1)?.split(' ', 2)[1], sent);
  }
});

test('a request that can not be written is one that failed', async () => {
  app(answer(200));
  const asked = { target: APP, path: '/', headers: [['host', 'a']] as [string, string][], tls: false };
  const { signal } = new AbortController();
  await assert.rejects(askApp(net.dialer, { ...asked, path: '/a b' }, signal), /unescaped characters/);
  await assert.rejects(
    askApp(net.dialer, { ...asked, headers: [['x', 'a\nb']] }, signal),
    /Invalid character/,
  );
});

test('a redirect is followed on the same host, and is healthy where it leads elsewhere', async () => {
  const moved = (to: string, port: number, status = 302) => app(answer(status, `location: ${to}`), port);
  const from = (port: number) => probe(http({ port }));
  const done = app(answer(200), 9000);
  const broken = app(answer(500), 9001);
  moved('http://10.0.0.7:9000/done?x', 8081);
  assert.equal(await from(8081), undefined);
  assert.match(done[0] ?? '', /^GET \/done\?x HTTP.*host: 10\.0\.0\.7:9000\r.*X-Probe: yes\r/s);
  moved('//10.0.0.7:9001/', 8082, 308);
  assert.equal(await from(8082), 'the app answered 500');
  assert.match(broken[0] ?? '', /host: shop\.example\r/, 'the name that was asked for');
  moved('http://shop.example/login', 8083);
  assert.equal(await from(8083), undefined, 'another host');
  const round = moved('/again', 8084);
  assert.match((await from(8084)) ?? '', /still redirects after 10 requests/);
  assert.equal(round.length, probeRequestsMax);
  moved('ftp://10.0.0.7/', 8085);
  assert.equal(await from(8085), 'the app redirects to ftp:');
  moved('http://[', 8086);
  assert.match((await from(8086)) ?? '', /makes no sense/);
});

test('an answer counts once its body has come, or as much of it as anybody reads', async () => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n';
  const begins = (text: string, port: number) =>
    net.listen(APP.host, port, (stream: ByteStream) => {
      stream.on('error', () => stream.destroy());
      stream.once('data', () => stream.write(text));
    });
  begins(head + 'a'.repeat(probeBodyBytesMax), 8081);
  assert.equal(await probe(http({ port: 8081 })), undefined);
  begins(head + 'a'.repeat(probeBodyBytesMax - 1), 8082);
  const stalled = probe(http({ port: 8082 }));
  await clock.advance(1_000);
  assert.equal(await stalled, 'the app gave no answer within 1000 ms');
  app(`${head}part`, 8083);
  assert.equal(await probe(http({ port: 8083 })), 'aborted');
});

test('an app that does not answer, or is not there, is not healthy, and says so in time', async () => {
  app(undefined);
  const silent = probe(http());
  await clock.advance(1_000);
  assert.equal(await silent, 'the app gave no answer within 1000 ms');
  assert.match((await probe(http({ port: 9999 }))) ?? '', /ECONNREFUSED/);
  assert.equal(clock.pendingTimers(), 0);
});

test('a TCP probe is content with a connection', async () => {
  app(undefined);
  const tcp: AppProbe = { kind: 'tcp', timeoutMs: 1_000, port: APP.port, host: undefined };
  assert.equal(await probe(tcp), undefined);
  assert.match((await probe({ ...tcp, port: 9999 })) ?? '', /ECONNREFUSED/);
});

test('an app is asked once at a time for each probe, however many ask, and all hear the answer', async () => {
  const connected: ByteStream[] = [];
  net.listen(APP.host, APP.port, (stream: ByteStream) => {
    stream.on('error', () => stream.destroy());
    stream.resume();
    connected.push(stream);
  });
  const [live, ready] = [http(), http({ path: '/ready' })];
  const asking = Array.from({ length: 1_000 }, () => probe(live));
  const other = probe(ready);
  await settle();
  assert.equal(connected.length, 2);
  for (const stream of connected) stream.end(answer(500));
  assert.deepEqual(new Set(await Promise.all([...asking, other])), new Set(['the app answered 500']));
  const again = probe(live);
  await settle();
  assert.equal(connected.length, 3);
  connected[2]?.end(answer(200));
  assert.equal(await again, undefined);
});

const OWN = 'heddle_requests_total 1\n';
const scrape = (page: PageHandler) => page({ method: 'GET', path: '/metrics', query: new URLSearchParams() });
const withApp = () =>
  metricsPage({ clock, dialer: net.dialer, render: () => OWN, app: { target: APP, path: '/metrics' } });
const metricsAnswer = (body: string, status = 200) =>
  `HTTP/1.1 ${status} OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

test("metrics are the sidecar's own, and the app's behind them", async () => {
  const alone = metricsPage({ clock, dialer: net.dialer, render: () => OWN, app: undefined });
  assert.equal((await scrape(alone)).body, OWN);
  const heard = app(metricsAnswer('orders_total 7\r\n# EOF\n'));
  const { body, type } = await scrape(withApp());
  assert.match(type, /^text\/plain; version=0\.0\.4/);
  assert.match(heard[0] ?? '', /^GET \/metrics HTTP/);
  assert.ok(body.startsWith(OWN));
  assert.match(body, /^heddle_app_scrape_up 1$/m);
  assert.ok(body.endsWith('\norders_total 7\n'), body);
});

test('an app that can not be scraped costs its own metrics only', async () => {
  const expectMissing = async (page: Promise<{ body: string }>, why: RegExp) => {
    const { body } = await page;
    assert.ok(body.startsWith(OWN));
    assert.match(body, /^heddle_app_scrape_up 0$/m);
    assert.match(body, why);
  };
  await expectMissing(
    Promise.resolve(scrape(withApp())),
    /^# the app's metrics are missing: .*ECONNREFUSED/m,
  );
  app(metricsAnswer('not found', 404));
  await expectMissing(Promise.resolve(scrape(withApp())), /missing: the app answered 404$/m);
});

test("the app's metrics are bounded in time and in size", async () => {
  app(undefined);
  const slow = scrape(withApp());
  await clock.advance(appScrapeMs);
  assert.match((await slow).body, /missing: no answer within 5000 ms$/m);
  net = new MemoryNetwork();
  app(metricsAnswer('a'.repeat(appScrapeBytesMax + 1)));
  assert.match((await scrape(withApp())).body, /missing: more than \d+ bytes$/m);
});

test('other paths and methods are refused', async () => {
  const page = withApp();
  assert.equal((await page({ method: 'GET', path: '/', query: new URLSearchParams() })).status, 404);
  assert.equal((await page({ method: 'POST', path: '/metrics', query: new URLSearchParams() })).status, 405);
});
