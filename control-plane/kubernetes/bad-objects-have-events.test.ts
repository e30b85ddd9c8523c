import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import type { ObjectStatus } from '../../model/mesh.ts';
import type { KubeObject, Problem, SourcedObject } from '../../model/objects.ts';
import { FakeClusterApi, refusal } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { Events, eventsPerMinuteMax, eventsRememberedMax, noteBytesMax } from './events.ts';

leakCheck();

const origin = { source: 'kubernetes', line: 0 };

function route(name: string, generation = 1): SourcedObject {
  const metadata = { namespace: 'shop', name, generation, uid: `uid-${name}` };
  return { object: { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute', metadata }, origin };
}

function setUp() {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const make = () => new Events({ api, clock, log: silentLogger, identity: 'cp-1' });
  let events = make();
  const state = { leads: true };
  const said = (reason: string, message: string) => (object: KubeObject) =>
    ({
      ...{ apiVersion: object.apiVersion, kind: object.kind, namespace: 'shop', name: object.metadata.name },
      ...{ generation: object.metadata.generation ?? 0, origin },
      parents: [
        {
          ref: 'Service shop/catalog',
          conditions: [
            { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' },
            { type: 'ResolvedRefs', status: reason === '' ? 'True' : 'False', reason, message },
          ],
        },
      ],
    }) satisfies ObjectStatus;
  const round = (
    objects: readonly SourcedObject[],
    {
      reason = 'BackendNotFound',
      note = 'there is no Service',
      problems = [] as readonly Problem[],
      silent = false,
    } = {},
  ) =>
    events.round(
      { objects, problems, statusOf: silent ? () => undefined : said(reason, note) },
      () => state.leads,
    );
  const restart = () => {
    events = make();
  };
  const told = () => [...api.objects.values()];
  return { api, clock, state, round, restart, told };
}

test('a bad object has a Warning, as the API wants it', async () => {
  const { round, told } = setUp();
  await round([route('r')]);
  const [event] = told();
  assert.match(event?.metadata.name ?? '', /^r\.[0-9a-f]{16}$/);
  const { metadata: _metadata, ...fields } = event ?? {};
  assert.deepEqual(fields, {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    eventTime: '2026-01-01T00:00:00.000000Z',
    type: 'Warning',
    reason: 'BackendNotFound',
    note: 'there is no Service',
    action: 'Validate',
    reportingController: 'heddle.dev/mesh-controller',
    reportingInstance: 'cp-1',
    regarding: {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      namespace: 'shop',
      name: 'r',
      uid: 'uid-r',
    },
  });
});

test('once for a generation and reason, whatever the words, whoever tells', async () => {
  const { api, round, restart, told } = setUp();
  await round([route('r')]);
  await round([route('r')], { note: 'other words' });
  assert.equal(api.writes().length, 1);
  restart();
  await round([route('r')]);
  assert.equal(told().length, 1, 'the API server has it already');
  await round([route('r')]);
  assert.equal(api.writes().length, 2);
  await round([route('r')], { reason: 'RefNotPermitted' });
  await round([route('r', 2)]);
  assert.equal(told().length, 3);
});

test('a good object has none', async () => {
  const { api, round } = setUp();
  await round([route('r')], { reason: '' });
  assert.deepEqual(api.calls, []);
});

test('an object without conditions is told of by its errors', async () => {
  const { round, told } = setUp();
  const service: SourcedObject = {
    object: { apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'shop', name: 's' } },
    origin,
  };
  const problem = (severity: Problem['severity'], message: string): Problem => ({
    ...{ severity, source: 'kubernetes', line: 0, object: 'Service shop/s', message },
  });
  await round([service], { silent: true, problems: [problem('warning', 'perhaps not meant')] });
  assert.deepEqual(told(), []);
  await round([service], { silent: true, problems: [problem('error', 'spec.ports has no port')] });
  assert.deepEqual([told()[0]?.reason, told()[0]?.note], ['Invalid', 'spec.ports has no port']);
});

test('a long note is cut at a character', async () => {
  const { round, told } = setUp();
  await round([route('r')], { note: 'ä'.repeat(noteBytesMax) });
  const note = String(told()[0]?.note);
  assert.ok(Buffer.byteLength(note) <= noteBytesMax);
  assert.match(note, /^ä+…$/);
});

test('a mesh full of bad objects is told of little by little', async () => {
  const { clock, round, told } = setUp();
  const objects = Array.from({ length: eventsPerMinuteMax * 2 }, (_, index) => route(`r${index}`));
  await round(objects);
  await round(objects);
  assert.equal(told().length, eventsPerMinuteMax);
  await clock.advance(60_000);
  await round(objects);
  assert.equal(told().length, objects.length);
});

test('of a great many the oldest are forgotten, and then told again', async () => {
  const { api, clock, round } = setUp();
  const objects = Array.from({ length: eventsRememberedMax + 1 }, (_, index) => route(`r${index}`));
  for (let told = 0; told < objects.length; told += eventsPerMinuteMax) {
    await round(objects.slice(told, told + eventsPerMinuteMax));
    await clock.advance(60_000);
  }
  const before = api.writes().length;
  await round(objects.slice(-1));
  assert.equal(api.writes().length, before);
  await round(objects.slice(0, 1));
  assert.equal(api.writes().length, before + 1);
});

test('who may not write tells nothing; who can not is asked to later; who is refused never again', async () => {
  const { api, round, state, told } = setUp();
  state.leads = false;
  await round([route('r')]);
  assert.deepEqual(api.calls, []);
  state.leads = true;
  api.before = () => {
    throw new HeddleError('kubernetes-unreachable', 'away');
  };
  await round([route('r')]);
  api.before = () => undefined;
  await round([route('r')]);
  assert.equal(told().length, 1);
  api.before = () => {
    throw refusal('Forbidden');
  };
  await round([route('r', 2)]);
  const calls = api.calls.length;
  await round([route('r', 2)]);
  assert.equal(api.calls.length, calls);
});
