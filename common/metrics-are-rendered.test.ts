import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MetricFamily, seriesMax } from './metrics.ts';

test('a histogram counts each observation in every bucket that it fits', () => {
  const family = new MetricFamily('d', 'Durations.', 'histogram', ['service']);
  const series = family.series('web');
  for (const seconds of [0.0004, 0.0005, 0.003, 61]) series.observe(seconds);
  const text = family.render();
  assert.match(text, /^d_bucket\{service="web",le="0\.0005"\} 2$/m);
  assert.match(text, /^d_bucket\{service="web",le="0\.0025"\} 2$/m);
  assert.match(text, /^d_bucket\{service="web",le="0\.005"\} 3$/m);
  assert.match(text, /^d_bucket\{service="web",le="60"\} 3$/m);
  assert.match(text, /^d_bucket\{service="web",le="\+Inf"\} 4$/m);
  assert.match(text, /^d_count\{service="web"\} 4$/m);
});

test('a series that was kept is the one that is found by its labels', () => {
  const family = new MetricFamily('r', 'Requests.', 'counter', ['service', 'code']);
  const series = family.series('web', '200');
  series.add(2);
  family.add(3, 'web', '200');
  assert.match(family.render(), /^r\{service="web",code="200"\} 5$/m);
});

test('label sets beyond the limit share one series', () => {
  const family = new MetricFamily('r', 'Requests.', 'counter', ['path']);
  for (let index = 0; index < seriesMax + 5; index++) family.add(1, `/${index}`);
  const text = family.render();
  assert.match(text, /^r\{overflow="true"\} 5$/m);
  assert.equal(text.trimEnd().split('\n').length, seriesMax + 3);
});

test('label values are escaped', () => {
  const family = new MetricFamily('r', 'Requests.', 'counter', ['path']);
  family.add(1, 'a"b\\c\nd');
  assert.ok(family.render().includes('r{path="a\\"b\\\\c\\nd"} 1'));
});
