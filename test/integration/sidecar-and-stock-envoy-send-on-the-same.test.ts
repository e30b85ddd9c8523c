import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Explanation } from '../../model/explain.ts';
import { findEnvoy } from '../support/envoy.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import type { AppHandler, TestApp } from './mesh/app.ts';
import { namespaceYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { askPage, type Page } from './mesh/pages.ts';
import { routeYaml } from './stock-envoy/documents.ts';
import { type StockEnvoy, startEnvoy } from './stock-envoy/process.ts';

leakCheck();

const envoy = findEnvoy();

let mesh: TestMesh;
let stock: StockEnvoy | undefined;
let web: TestPod;
let copy: TestApp;

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  for (const [name, port] of [
    ['catalog', 80],
    ['catalog', 8080],
    ['copy', 80],
  ] as const) {
    const service = { namespace: 'shop', name: port === 80 ? name : `${name}-alt`, port, targetPort: 8080 };
    mesh.addService({ ...service, selector: { app: name } });
  }
  const echo: AppHandler = ({ url, headers }, response) => {
    for (const name of ['x-less', 'x-e', 'x-f']) response.setHeader(name, 'from the app');
    const edited = editedHeaders(headers);
    response.end(JSON.stringify({ url, host: headers.host, own: headers['x-own'] ?? null, edited }));
  };
  await mesh.addPod({ namespace: 'shop', name: 'catalog', serviceAccount: 'catalog', app: echo });
  copy = (await mesh.addPod({ namespace: 'shop', name: 'copy', serviceAccount: 'copy', app: echo })).app;
  const pod = { namespace: 'shop', name: 'edge', labels: { app: 'edge' }, serviceAccount: 'edge' };
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  if (!envoy.ok) return;
  stock = await startEnvoy(mesh, {
    ...{ binary: envoy.value, api: 'DELTA_GRPC' },
    pod: { ...pod, ip: '127.245.0.7', meshed: false, port: 9999 },
  });
});

after(async () => {
  await stock?.stop();
  await mesh?.close();
});

/** Those that the rules of this file edit, `x-a` to `x-f`. */
function editedHeaders(headers: Page['headers']): Record<string, string> {
  const edited = Object.entries(headers).filter(([name]) => /^x-[a-f]$/.test(name));
  return Object.fromEntries(edited.map(([name, value]) => [name, String(value)]));
}

interface Asker {
  readonly name: string;
  readonly skip: false | string;
  ask(host: string, target: string): Promise<Page>;
}

const ASKERS: readonly Asker[] = [
  {
    ...{ name: 'a sidecar', skip: false },
    ask: (host, target) => web.client.request(`http://${host}${target}`),
  },
  {
    ...{ name: 'a stock Envoy', skip: envoy.ok ? false : envoy.error },
    ask: (host, target) =>
      stock === undefined ? Promise.reject(new Error('there is no Envoy')) : stock.request(host, target),
  },
];

/** What the model says of the same request. */
async function explained(host: string, target: string): Promise<Explanation> {
  const page = await askPage(`http://127.0.0.1:${mesh.ports().dashboard}/api/heddle/explain`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      from: { namespace: 'shop' },
      url: `http://${host}${target}`,
      method: 'GET',
      headers: [],
    }),
  });
  assert.equal(page.status, 200, page.body);
  return JSON.parse(page.body);
}

const BACKEND = 'backendRefs: [{name: catalog, port: 80}]';
/** Rules by the prefix that they match. */
async function useRules(
  { ask }: Asker,
  rules: Readonly<Record<string, string>>,
  parent = 'catalog',
): Promise<void> {
  const marker = `/mark-${parent}-${Object.keys(rules).length}`;
  const texts = Object.entries({
    ...rules,
    [marker]: 'filters: [{type: RequestRedirect, requestRedirect: {}}]',
  });
  const text = texts.map(([prefix, rest]) => `- {matches: [{path: {value: ${prefix}}}], ${rest}}`).join('\n');
  const yaml = routeYaml(text).replaceAll('name: catalog, namespace', `name: ${parent}, namespace`);
  mesh.apply(
    `${parent}.yaml`,
    parent === 'catalog'
      ? yaml
      : yaml.replace('name: catalog, port: 80}]\n', `name: ${parent}, port: 8080}]\n`),
  );
  const host = parent === 'catalog' ? parent : `${parent}:8080`;
  await eventually(async () => (await ask(host, marker).catch(() => undefined))?.status === 302, {
    deadlineMs: 10_000,
    what: `the rules of ${parent} are in force`,
  });
}

const pathTo = (type: 'PrefixMatch' | 'FullPath', value: string) =>
  `path: {type: Replace${type}, replace${type}: "${value}"}`;
const rewriting = (text: string) => `filters: [{type: URLRewrite, urlRewrite: {${text}}}], ${BACKEND}`;
const redirecting = (text: string) => `filters: [{type: RequestRedirect, requestRedirect: {${text}}}]`;

/** URLs that mean the same are the same: a port that the scheme implies may be written. */
const normal = (url: string | undefined) => new URL(url ?? '').href;

for (const asker of ASKERS) {
  const { name, skip } = asker;
  test(`${name} rewrites paths and hosts as explained`, { skip }, async () => {
    await useRules(asker, {
      '/foo': rewriting(pathTo('PrefixMatch', '/xyz')),
      '/slash/': rewriting(pathTo('PrefixMatch', '/xyz/')),
      '/gone': rewriting(pathTo('PrefixMatch', '')),
      '/root': rewriting(pathTo('PrefixMatch', '/')),
      '/a.b(c)+$': rewriting(pathTo('PrefixMatch', '')),
      '/full': rewriting(pathTo('FullPath', '/one%20two')),
      '/host': rewriting('hostname: new.example'),
      '/both': rewriting(`hostname: new.example, ${pathTo('PrefixMatch', '/b')}`),
      '/': rewriting(pathTo('PrefixMatch', '/all')),
    });
    const prefixes = ['/foo', '/slash', '/gone', '/root', '/a.b(c)+$', '/full', '/host', '/both', ''];
    const rests = ['', '/', '/bar', '/bar/', '//bar', '/%2Fx%20y', '/bar?x=1&y=%20', '?x=/foo'];
    for (const target of prefixes.flatMap((prefix) => rests.map((rest) => prefix + rest))) {
      if (!target.startsWith('/')) continue;
      const { rewrite } = await explained('catalog', target);
      const { url, host } = JSON.parse((await asker.ask('catalog', target)).body);
      const [came = '', ...query] = target.split('?');
      const wanted = [rewrite?.path ?? came, ...query].join('?');
      assert.deepEqual([url, host], [wanted, rewrite?.host ?? 'catalog'], target);
    }
  });

  test(`${name} redirects to the URL that was explained, whatever the port of the Service`, {
    skip,
  }, async () => {
    const rules = {
      '/plain': redirecting(''),
      '/301': redirecting('statusCode: 301'),
      '/303': redirecting('statusCode: 303'),
      '/307': redirecting('statusCode: 307'),
      '/308': redirecting('statusCode: 308'),
      '/host': redirecting('hostname: new.example'),
      '/port': redirecting('port: 8083'),
      '/80': redirecting('port: 80'),
      '/https': redirecting('scheme: https'),
      '/http': redirecting('scheme: http'),
      '/https-80': redirecting('scheme: https, port: 80'),
      '/https-host': redirecting('scheme: https, hostname: new.example'),
      '/full': redirecting(pathTo('FullPath', '/one')),
      '/prefix': redirecting(`hostname: new.example, port: 443, ${pathTo('PrefixMatch', '/two')}`),
      '/gone': redirecting(pathTo('PrefixMatch', '')),
    };
    await useRules(asker, rules);
    await useRules(asker, rules, 'catalog-alt');
    for (const host of ['catalog', 'catalog:80', 'catalog-alt:8080']) {
      for (const prefix of Object.keys(rules)) {
        for (const rest of ['', '/', '/bar?x=1', '?y']) {
          const target = prefix + rest;
          const { redirect } = await explained(host, target);
          const page = await asker.ask(host, target);
          assert.equal(page.status, redirect?.status, `${host}${target}`);
          assert.equal(normal(page.headers.location), normal(redirect?.location), `${host}${target}`);
        }
      }
    }
  });

  test(`${name} sends copies to mirrors, and each backend its own edits`, { skip }, async () => {
    copy.received.length = 0;
    const edits = (value: string) =>
      `filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-own, value: ${value}}, {name: Host, value: ${value}.example}]}},
      {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x-less]}}]`;
    const mirror = (text: string) =>
      `{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}, ${text}}}`;
    await useRules(asker, {
      '/copied': `filters: [${mirror('')}, {type: URLRewrite, urlRewrite: {${pathTo('PrefixMatch', '/new')}}}], ${BACKEND}`,
      '/never': `filters: [${mirror('percent: 0')}], ${BACKEND}`,
      '/lost': `filters: [{type: RequestMirror, requestMirror: {backendRef: {name: missing, port: 80}}}], ${BACKEND}`,
      '/some': `filters: [${mirror('fraction: {numerator: 1, denominator: 3}')}], ${BACKEND}`,
      '/own': `backendRefs: [{name: catalog, port: 80, ${edits('one')}}, {name: catalog, port: 80, ${edits('two')}}]`,
    });
    const copied = (prefix: string) => copy.received.filter(({ url }) => url.startsWith(prefix));
    assert.equal((await asker.ask('catalog', '/never')).status, 200);
    assert.equal((await asker.ask('catalog', '/lost')).status, 200);
    const asked = 150;
    for (let index = 0; index < asked; index++) await asker.ask('catalog', '/some');
    assert.equal((await asker.ask('catalog', '/copied/a')).status, 200);
    await eventually(() => copied('/new/a').length === 1, { deadlineMs: 5_000, what: 'the copy arrives' });
    assert.equal(copied('/new/a')[0]?.headers.host, 'catalog');
    assert.deepEqual(copied('/never'), []);
    const share = copied('/some').length / asked;
    assert.ok(share > 0.15 && share < 0.55, `a third was to be copied, and ${share} was`);
    const seen = new Set<string>();
    await eventually(
      async () => {
        const page = await asker.ask('catalog', '/own');
        assert.equal(page.headers['x-less'], undefined);
        const { host, own } = JSON.parse(page.body);
        seen.add(`${own} ${host}`);
        return seen.size === 2;
      },
      { deadlineMs: 10_000, what: 'both backends had a request' },
    );
    assert.deepEqual([...seen].toSorted(), ['one one.example', 'two two.example']);
  });

  test(`${name} edits headers as a rule says, and then as its backend does`, { skip }, async () => {
    copy.received.length = 0;
    const ofRule =
      'set: [{name: x-a, value: r}, {name: x-b, value: r}], add: [{name: x-c, value: r}, {name: X-D, value: r}], remove: [x-e, x-f]';
    const ofBackend =
      'set: [{name: x-b, value: b}, {name: X-C, value: b}, {name: x-e, value: b}], add: [{name: x-a, value: b}, {name: x-f, value: b}], remove: [x-d]';
    const both = (text: string) =>
      `{type: RequestHeaderModifier, requestHeaderModifier: {${text}}}, {type: ResponseHeaderModifier, responseHeaderModifier: {${text}}}`;
    const host = (value: string) =>
      `{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: ${value}.example}]}}`;
    const rewriteHost = '{type: URLRewrite, urlRewrite: {hostname: rule.example}}';
    const to = (filters: string) => `{name: catalog, port: 80, filters: [${filters}]}`;
    const mirror = '{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}';
    await useRules(asker, {
      '/both': `filters: [${both(ofRule)}], backendRefs: [${to(both(ofBackend))}]`,
      '/host': `filters: [${host('rule')}], backendRefs: [${to(host('backend'))}]`,
      '/rewrite': `filters: [${rewriteHost}], backendRefs: [${to(host('backend'))}]`,
      '/some': `filters: [${rewriteHost}], backendRefs: [${to(host('backend'))}, ${to('')}]`,
      '/copied': `filters: [${mirror}, ${both(ofRule)}, ${rewriteHost}], backendRefs: [${to(both(ofBackend))}]`,
      '/hosted': `filters: [${mirror}], backendRefs: [${to(host('backend'))}]`,
    });
    const wanted = { 'x-a': 'r, b', 'x-b': 'b', 'x-c': 'b', 'x-e': 'b', 'x-f': 'b' };
    const page = await asker.ask('catalog', '/both');
    assert.deepEqual(JSON.parse(page.body).edited, wanted);
    assert.deepEqual(editedHeaders(page.headers), wanted);
    const hostOf = async (target: string) => JSON.parse((await asker.ask('catalog', target)).body).host;
    for (const target of ['/host', '/rewrite']) {
      assert.equal(await hostOf(target), 'backend.example');
      assert.equal((await explained('catalog', target)).rewrite?.host, 'backend.example');
    }
    const hosts = new Set<string>();
    await eventually(async () => hosts.add(await hostOf('/some')).size === 2, {
      deadlineMs: 10_000,
      what: 'both backends had a request',
    });
    assert.deepEqual([...hosts].toSorted(), ['backend.example', 'rule.example']);
    await asker.ask('catalog', '/copied');
    await asker.ask('catalog', '/hosted');
    await eventually(() => copy.received.length === 2, { deadlineMs: 5_000, what: 'the copies arrive' });
    const copies = copy.received.map(({ url, headers }) => [url, headers.host, editedHeaders(headers)]);
    assert.deepEqual(copies.toSorted(), [
      ['/copied', 'rule.example', wanted],
      ['/hosted', 'backend.example', {}],
    ]);
  });
}
