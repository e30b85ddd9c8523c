import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { request } from '../../test/support/model-objects.ts';
import { DESTINATION } from '../../test/support/xds-samples.ts';
import type { Redirect, RouteMatch } from '../snapshot.ts';
import { locationOf, rewrittenPath } from './rewrite.ts';

function prefix(value: string): RouteMatch {
  return { path: { kind: 'prefix', value }, method: undefined, headers: [], queryParams: [] };
}

/** The table of the Gateway API (HTTPPathModifier), and what it leaves open. */
const TABLE: readonly (readonly [path: string, matched: string, replacement: string, wanted: string])[] = [
  ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
  ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
  ['/foo/bar', '/foo/', '/xyz', '/xyz/bar'],
  ['/foo/bar', '/foo/', '/xyz/', '/xyz/bar'],
  ['/foo', '/foo', '/xyz', '/xyz'],
  ['/foo/', '/foo', '/xyz', '/xyz/'],
  ['/foo/bar', '/foo', '', '/bar'],
  ['/foo/', '/foo', '', '/'],
  ['/foo', '/foo', '', '/'],
  ['/foo/', '/foo', '/', '/'],
  ['/foo', '/foo', '/', '/'],
  ['/foo', '/foo', '/xyz/', '/xyz'],
  ['/', '/', '/xyz', '/xyz/'],
  ['/bar', '/', '/xyz', '/xyz/bar'],
  ['/bar', '/', '', '/bar'],
  ['/bar', '/', '/', '/bar'],
  ['*', '/', '/xyz', '*'],
  ['/foo//bar', '/foo', '/xyz', '/xyz//bar'],
  ['/foo/%2Fbar%20', '/foo', '/xyz', '/xyz/%2Fbar%20'],
  ['/a/../foo/./bar', '/foo', '/xyz', '/xyz/bar'],
];
for (const [path, matched, value, wanted] of TABLE) {
  test(`${path} with ${matched} replaced by "${value}" is ${wanted}`, () => {
    assert.equal(rewrittenPath(path, { kind: 'prefix', value }, prefix(matched)), wanted);
  });
}

const segment = fc.constantFrom('a', 'b', 'a%2Fb', '%20', 'x.y', '~');
const path = fc
  .tuple(fc.array(segment, { maxLength: 3 }), fc.boolean())
  .map(([parts, slash]) => `/${parts.join('/')}${slash && parts.length > 0 ? '/' : ''}`);

test('a prefix that is replaced and replaced back gives the path that came', () => {
  fc.assert(
    fc.property(path, path, path, (matched, rest, value) => {
      fc.pre(matched !== '/' && value !== '/');
      const came = `${matched.replace(/\/$/, '')}${rest}`;
      const there = rewrittenPath(came, { kind: 'prefix', value }, prefix(matched));
      assert.equal(rewrittenPath(there, { kind: 'prefix', value: matched }, prefix(value)), came);
    }),
    { numRuns: 2_000, seed: 5 },
  );
});

test('a rewritten path is absolute, and ends as the path that came does', () => {
  fc.assert(
    fc.property(path, path, fc.oneof(path, fc.constant('')), (matched, rest, value) => {
      const came = `${matched.replace(/\/$/, '')}${rest}`;
      const rewritten = rewrittenPath(came, { kind: 'prefix', value }, prefix(matched));
      assert.match(rewritten, /^\//);
      assert.ok(rewritten.endsWith(rest), `${came} became ${rewritten}`);
    }),
    { numRuns: 2_000, seed: 6 },
  );
});

test('a full path stands in the place of any other', () => {
  assert.equal(rewrittenPath('/a/b', { kind: 'full', value: '/x%20y/' }, prefix('/a')), '/x%20y/');
});

const STAY: Redirect = {
  ...{ scheme: undefined, hostname: undefined, path: undefined, port: undefined, status: 302 },
};

function location(redirect: Partial<Redirect>, target: string, host: string | undefined, port = 80): string {
  const headers = host === undefined ? {} : { host };
  const destination = { ...DESTINATION, key: `s.shop.svc.cluster.local:${port}`, port };
  return locationOf({ ...STAY, ...redirect }, prefix('/a'), request(target, headers), destination);
}

/** Gateway API, HTTPRequestRedirectFilter: what a redirect says, how the Service was called, and where it leads. */
const LOCATIONS: readonly (readonly [Partial<Redirect>, host: string, port: number, wanted: string])[] = [
  [{}, 's', 80, 'http://s/a'],
  [{}, 's:80', 80, 'http://s/a'],
  [{}, 's:8080', 8080, 'http://s:8080/a'],
  [{}, 's', 8080, 'http://s:8080/a'],
  [{}, 'localhost:9999', 80, 'http://localhost/a'],
  [{}, '[::1]:8080', 8080, 'http://[::1]:8080/a'],
  [{ hostname: 'example.org' }, 's:8080', 8080, 'http://example.org:8080/a'],
  [{ scheme: 'https' }, 's:8080', 8080, 'https://s/a'],
  [{ scheme: 'http' }, 's:8080', 8080, 'http://s/a'],
  [{ scheme: 'https', port: 443 }, 's', 80, 'https://s/a'],
  [{ scheme: 'https', port: 80 }, 's', 80, 'https://s:80/a'],
  [{ port: 8083 }, 's', 80, 'http://s:8083/a'],
  [{ port: 80 }, 's:8080', 8080, 'http://s/a'],
  [{ port: 443 }, 's', 80, 'http://s:443/a'],
  [{ port: 8083, hostname: 'example.org' }, 's', 80, 'http://example.org:8083/a'],
];
for (const [redirect, host, port, wanted] of LOCATIONS) {
  test(`${JSON.stringify(redirect)} of ${host} on port ${port} leads to ${wanted}`, () => {
    assert.equal(location(redirect, 'GET /a', host, port), wanted);
  });
}

test('a redirect keeps the query and the encoding, and answers about the server as a whole with its root', () => {
  assert.equal(location({}, 'GET /a%2Fb/../c?x=%20&y', 's'), 'http://s/a%2Fb/../c?x=%20&y');
  assert.equal(location({ path: { kind: 'full', value: '/b' } }, 'GET /a?x=1', 's'), 'http://s/b?x=1');
  assert.equal(location({ path: { kind: 'prefix', value: '' } }, 'GET /a?x=1', 's'), 'http://s/?x=1');
  assert.equal(location({}, 'OPTIONS *', 's'), 'http://s/');
  assert.equal(location({ path: { kind: 'full', value: '/b' } }, 'OPTIONS *', 's'), 'http://s/b');
});

test('a Host that is none is not repeated: the name of the Service stands in for it', () => {
  for (const host of [undefined, '', 'a/b', 'a b', 'user@a', 'a:b', 'a?b', 'a#b', '[::1', 'a\\b']) {
    assert.equal(location({}, 'GET /a', host), 'http://s.shop.svc.cluster.local/a', String(host));
  }
});
