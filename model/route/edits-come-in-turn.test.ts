import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { HeaderEdit } from '../snapshot.ts';
import { editLayers } from './edit-layers.ts';

type Headers = Readonly<Record<string, readonly string[]>>;

/** What a message's headers are after an edit: `remove`, then `set`, then `add`. */
function edited(headers: Headers, edit: HeaderEdit | undefined): Headers {
  const now = { ...headers };
  for (const name of edit?.remove ?? []) delete now[name];
  for (const [name, value] of edit?.set ?? []) now[name.toLowerCase()] = [value];
  for (const [name, value] of edit?.add ?? []) {
    now[name.toLowerCase()] = [...(now[name.toLowerCase()] ?? []), value];
  }
  return now;
}

const setHost = (value: string): HeaderEdit => ({ set: [['host', value]], add: [], remove: [] });

/** One action a name, as manifests have it. */
function editOf(value: string): fc.Arbitrary<HeaderEdit | undefined> {
  const action = fc.constantFrom('none', 'none', 'set', 'add', 'remove');
  return fc
    .option(fc.record({ a: action, b: action, C: action, host: fc.constantFrom('none', 'set') }), {
      nil: undefined,
    })
    .map((actions) => {
      if (actions === undefined) return undefined;
      const named = (wanted: string) =>
        Object.entries(actions).flatMap(([name, is]) => (is === wanted ? [name] : []));
      const pairs = (wanted: string) => named(wanted).map((name) => [name, value] as const);
      const remove = named('remove').map((name) => name.toLowerCase());
      return { set: pairs('set'), add: pairs('add'), remove };
    });
}

const ruleOf = fc.record({
  edits: editOf('rule'),
  hostname: fc.constantFrom(undefined, 'new.example'),
  backends: fc.array(editOf('backend'), { minLength: 1, maxLength: 3 }),
});
const backend = (requestHeaders: HeaderEdit | undefined, responseHeaders: HeaderEdit | undefined) => ({
  ...{ cluster: 'c', weight: 1, invalid: undefined, requestHeaders, responseHeaders },
});
const CAME: Headers = { a: ['came'], b: ['came', 'again'], host: ['came'] };

test("a backend's edits and then its rule's, as they are told to Envoy, do what the rule's and then the backend's do", () => {
  fc.assert(
    fc.property(ruleOf, ({ edits, hostname, backends }) => {
      const layers = editLayers({
        ...{ requestHeaders: edits, responseHeaders: edits },
        rewrite: hostname === undefined ? undefined : { hostname, path: undefined },
        backends: backends.map((edit) => backend(edit, edit)),
      });
      for (const [index, edit] of backends.entries()) {
        const responses = edited(edited(CAME, edits), edit);
        const { responseHeaders, requestHeaders } = layers.ofBackends[index] ?? {};
        assert.deepEqual(edited(edited(CAME, responseHeaders), layers.ofRule.responseHeaders), responses);
        const rewritten = (headers: Headers, host: string | undefined) =>
          host === undefined ? headers : edited(headers, setHost(host));
        const requests = edited(rewritten(edited(CAME, edits), hostname), edit);
        const told = edited(edited(CAME, requestHeaders), layers.ofRule.requestHeaders);
        assert.deepEqual(rewritten(told, layers.hostname), requests);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('where rule and backends edit different headers, everything stays where it was said', () => {
  const edit = (name: string): HeaderEdit => ({ set: [[name, '1']], add: [], remove: [`${name}-gone`] });
  const rule = {
    ...{ requestHeaders: edit('a'), responseHeaders: undefined },
    rewrite: { hostname: 'new.example', path: undefined },
    backends: [backend(edit('b'), edit('a')), backend(undefined, undefined)],
  };
  assert.deepEqual(editLayers(rule), {
    ...{ moved: false, hostname: 'new.example' },
    ofRule: { requestHeaders: edit('a'), responseHeaders: undefined },
    ofBackends: [
      { requestHeaders: edit('b'), responseHeaders: edit('a') },
      { requestHeaders: undefined, responseHeaders: undefined },
    ],
  });
});
