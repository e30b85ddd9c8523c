import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { DEFAULT_MESH_SETTINGS, parseMeshSettings } from '../../model/settings.ts';
import { KINDS as API_KINDS } from '../../sources/kubernetes/kinds.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { listAt, objectAt, textAt } from '../kube/fields.ts';
import { findKind } from '../kube/kinds.ts';
import { chartKinds, chartVersion, defaultValues, findChart } from './chart.ts';

leakCheck();

const CHART = findChart(undefined, '/');
const text = (name: string) => readFileSync(join(CHART, name), 'utf8');
const values = defaultValues(CHART);
const schema: JsonObject = JSON.parse(text('values.schema.json'));

/** Names of all fields, dotted; those of free maps (resources, affinity) are not looked into. */
function fieldsOf(value: JsonValue | undefined, under = ''): readonly string[] {
  if (!isJsonObject(value)) return [under];
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = under === '' ? key : `${under}.${key}`;
    return isFree(name) ? [name] : fieldsOf(inner, name);
  });
}

function schemaOf(name: string): JsonObject {
  return name.split('.').reduce((part, key) => objectAt(part, 'properties', key), schema);
}

function isFree(name: string): boolean {
  return schemaOf(name).properties === undefined;
}

function schemaFields(part: JsonObject, under = ''): readonly string[] {
  const { properties } = part;
  if (!isJsonObject(properties)) return [under];
  return Object.entries(properties).flatMap(([key, inner]) =>
    schemaFields(inner as JsonObject, under === '' ? key : `${under}.${key}`),
  );
}

test('every value has a place in the schema, and the other way round', () => {
  // Helm's own: values that a chart above passes to all below.
  const known = schemaFields(schema).filter((name) => name !== 'global');
  assert.deepEqual(fieldsOf(values).toSorted(), known.toSorted());
});

test('the schema lets no slip through at any depth', () => {
  const closed = (part: JsonObject, name: string): void => {
    if (!isJsonObject(part.properties)) return;
    assert.equal(part.additionalProperties, false, name);
    for (const [key, inner] of Object.entries(part.properties)) closed(inner as JsonObject, `${name}.${key}`);
  };
  closed(schema, 'values');
});

test('every value is described by a comment above it or in its block', () => {
  const lines = text('values.yaml').split('\n');
  let described = false;
  const bare: string[] = [];
  for (const line of lines) {
    if (/^\s*#/.test(line)) described = true;
    else if (line.trim() === '') described = false;
    else if (
      /^\s*(mtls|certificates|outbound|tracing|detection|drain|ca|image|controlPlane|cni|dns|injector|proxy):$/.test(
        line,
      )
    )
      described = true;
    else if (!described) bare.push(line);
  }
  assert.deepEqual(bare, []);
});

test("the mesh's settings are those that the control plane has by itself", () => {
  const read = parseMeshSettings(values.meshSettings, { source: 'values.yaml', line: 1 });
  assert.deepEqual(read.problems, []);
  assert.deepEqual(read.settings, DEFAULT_MESH_SETTINGS);
  for (const field of fieldsOf(values.meshSettings)) {
    const { properties } = objectAt(schema, 'properties', 'meshSettings');
    assert.ok(isJsonObject(properties) && Object.hasOwn(properties, field.split('.')[0] ?? ''));
  }
});

test('values for high availability change values that there are', () => {
  const known = new Set(schemaFields(schema));
  for (const name of fieldsOf(parse(text('values-ha.yaml')))) assert.ok(known.has(name), name);
});

test('the chart has the version of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  assert.equal(chartVersion(CHART), version);
  assert.equal(String(parse(text('Chart.yaml')).appVersion), version);
});

const crds = chartKinds(CHART);

test('the kinds are named as the commands and the client name them', () => {
  assert.equal(crds.length, readdirSync(join(CHART, 'crds')).length);
  assert.deepEqual(crds.map(({ spec }) => textAt(spec, 'names', 'kind')).toSorted(), [
    'AuthorizationPolicy',
    'MTLSPolicy',
    'TrafficPolicy',
  ]);
  for (const { spec, metadata } of crds) {
    const { kind, plural, singular, shortNames } = objectAt(spec, 'names');
    const found = findKind(String(kind));
    assert.deepEqual(
      { kind, plural, singular, shortNames },
      { kind: found?.kind, plural: found?.plural, singular: found?.singular, shortNames: found?.short },
    );
    assert.ok(Object.values(API_KINDS).some((one) => one.kind === kind && one.plural === plural));
    assert.equal(metadata.name, `${plural}.heddle.dev`);
  }
});

/** Every schema under a kind's, with its path. */
function* schemasOf(part: JsonObject, path: string): Generator<readonly [string, JsonObject]> {
  yield [path, part];
  for (const [key, inner] of Object.entries(objectAt(part, 'properties')))
    yield* schemasOf(inner as JsonObject, `${path}.${key}`);
  if (isJsonObject(part.items)) yield* schemasOf(part.items, `${path}[]`);
}

function schemaOfKind(crd: JsonObject): JsonObject {
  return objectAt(listAt(crd.spec, 'versions')[0], 'schema', 'openAPIV3Schema');
}

for (const crd of crds) {
  const { kind } = objectAt(crd.spec, 'names');
  test(`${kind}: every field is explained, and nothing is unbounded or filled in`, () => {
    for (const [path, part] of schemasOf(schemaOfKind(crd), String(kind))) {
      assert.ok(!Object.hasOwn(part, 'default'), `${path} has a default: policies merge by what they name`);
      if (!path.endsWith('[]') && !path.endsWith('.metadata'))
        assert.match(textAt(part, 'description') ?? '', /^.{5,}/s, path);
      if (part.type === 'array') assert.ok(typeof part.maxItems === 'number', `${path} has no maxItems`);
      const bounded = part.enum !== undefined || part.maxLength !== undefined || part.format === 'date-time';
      if (part.type === 'string' && path.includes('.spec')) assert.ok(bounded, `${path} has no maxLength`);
      if (part.type === 'integer' && path.includes('.spec'))
        assert.ok(typeof part.minimum === 'number' && typeof part.maximum === 'number', path);
      for (const rule of listAt(part, 'x-kubernetes-validations')) assert.ok(textAt(rule, 'message'), path);
    }
  });
}

test('all kinds have the same status', () => {
  const [first, ...others] = crds.map((crd) => objectAt(schemaOfKind(crd), 'properties', 'status'));
  for (const other of others) assert.deepEqual(other, first);
});
