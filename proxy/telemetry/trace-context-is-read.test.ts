import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatB3, formatTraceparent, incomingContext, parseB3, parseTraceparent } from './trace-context.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

const from = (fields: Readonly<Record<string, string>>) => incomingContext((name) => fields[name]);

test('traceparent gives ids, flag and state', () => {
  assert.deepEqual(from({ traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'vendor=1' }), {
    traceId: TRACE,
    parentId: SPAN,
    sampled: true,
    state: 'vendor=1',
    b3: undefined,
  });
  assert.equal(parseTraceparent(`00-${TRACE}-${SPAN}-00`)?.sampled, false);
  assert.equal(parseTraceparent(`00-${TRACE}-${SPAN}-03`)?.sampled, true, 'other flags say nothing about it');
});

test('a later version may carry more, version 00 may not', () => {
  assert.equal(parseTraceparent(`cc-${TRACE}-${SPAN}-01-what-comes`)?.traceId, TRACE);
  assert.equal(parseTraceparent(`00-${TRACE}-${SPAN}-01-what-comes`), undefined);
});

test('a malformed traceparent is no context, and B3 is not looked at in its place', () => {
  const malformed = [
    '',
    `00-${TRACE}-${SPAN}`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
    `00-${TRACE.slice(1)}-${SPAN}-01`,
  ];
  for (const traceparent of malformed) {
    assert.equal(from({ traceparent, b3: `${TRACE}-${SPAN}-1` }), undefined, traceparent);
  }
});

test('a tracestate that is longer than has to be passed on is left out', () => {
  const traceparent = `00-${TRACE}-${SPAN}-01`;
  assert.equal(from({ traceparent, tracestate: 'a'.repeat(512) })?.state?.length, 512);
  assert.equal(from({ traceparent, tracestate: 'a'.repeat(513) })?.state, undefined);
});

test('B3 is read in one header and in several', () => {
  const single = { traceId: TRACE, parentId: SPAN, sampled: true, state: undefined, b3: 'single' };
  const cases: readonly (readonly [Readonly<Record<string, string>>, object | undefined])[] = [
    [{ b3: `${TRACE}-${SPAN}-1` }, single],
    [{ b3: `${TRACE}-${SPAN}-1-${SPAN}` }, single],
    [{ b3: `${TRACE}-${SPAN}-d` }, single],
    [{ b3: `${TRACE}-${SPAN}-0` }, { ...single, sampled: false }],
    [{ b3: `${TRACE}-${SPAN}` }, { ...single, sampled: undefined }],
    [{ b3: `${TRACE.slice(16)}-${SPAN}-1` }, { ...single, traceId: `${'0'.repeat(16)}${TRACE.slice(16)}` }],
    [{ b3: '0' }, { ...single, traceId: undefined, parentId: undefined, sampled: false }],
    [{ b3: 'nonsense' }, undefined],
    [{ b3: `${TRACE}-short-1` }, undefined],
    [{ b3: `${'0'.repeat(32)}-${SPAN}-1` }, undefined],
    [
      { 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN, 'x-b3-sampled': '1' },
      { ...single, b3: 'several' },
    ],
    [
      { 'x-b3-traceid': TRACE.toUpperCase(), 'x-b3-spanid': SPAN, 'x-b3-sampled': 'false' },
      { ...single, b3: 'several', sampled: false },
    ],
    [
      { 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN, 'x-b3-flags': '1' },
      { ...single, b3: 'several' },
    ],
    [
      { 'x-b3-sampled': '0' },
      { ...single, traceId: undefined, parentId: undefined, b3: 'several', sampled: false },
    ],
    [{ 'x-b3-traceid': TRACE }, undefined],
    [{}, undefined],
  ];
  for (const [fields, expected] of cases) {
    assert.deepEqual(
      parseB3((name) => fields[name]),
      expected,
      JSON.stringify(fields),
    );
  }
});

test('a context goes on in the form in which it came', () => {
  assert.equal(formatTraceparent(TRACE, SPAN, true), `00-${TRACE}-${SPAN}-01`);
  assert.equal(formatTraceparent(TRACE, SPAN, false), `00-${TRACE}-${SPAN}-00`);
  for (const form of ['single', 'several'] as const) {
    const fields = new Map(formatB3(form, TRACE, SPAN, true));
    assert.deepEqual(
      parseB3((name) => fields.get(name)),
      {
        traceId: TRACE,
        parentId: SPAN,
        sampled: true,
        state: undefined,
        b3: form,
      },
    );
  }
});
