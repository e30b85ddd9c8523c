import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dropRecord } from '../../test/browser/seed.ts';
import { DropFlows, dropFlowsMax } from './flows.ts';

test('records of one flow are one entry with all packets, however often its client came by another port', () => {
  const flows = new DropFlows();
  const { from, to } = dropRecord(1);
  flows.add(dropRecord(1, { at: '2026-01-02T10:20:31.000Z' }));
  flows.add(dropRecord(2, { at: '2026-01-02T10:20:30.000Z', packets: 9, from: { ...from, port: 1 } }));
  flows.add(dropRecord(3, { at: '2026-01-02T10:20:32.000Z', to: { ...to, port: 81 } }));
  assert.deepEqual(
    flows.all().map(({ to: end, packets, firstAt, lastAt }) => [end.port, packets, firstAt, lastAt]),
    [
      [81, 1, '2026-01-02T10:20:32.000Z', '2026-01-02T10:20:32.000Z'],
      [8080, 10, '2026-01-02T10:20:31.000Z', '2026-01-02T10:20:31.000Z'],
    ],
  );
});

test('a policy, a node, a direction or another pod at the same address makes another flow', () => {
  const flows = new DropFlows();
  const { to } = dropRecord(1);
  for (const part of [{}, { policies: [] }, { node: 'node-2' }, { direction: 'egress' as const }])
    flows.add(dropRecord(1, part));
  flows.add(dropRecord(5, { to: { ...to, name: 'shop/heir' } }));
  assert.equal(flows.all().length, 5);
});

test('the flow that has rested longest is forgotten first', () => {
  const flows = new DropFlows();
  const { to } = dropRecord(1);
  const add = (port: number) => flows.add(dropRecord(port, { to: { ...to, port } }));
  for (let port = 1; port <= dropFlowsMax; port++) add(port);
  add(1);
  add(dropFlowsMax + 1);
  const ports = flows.all().map(({ to: end }) => end.port);
  assert.equal(ports.length, dropFlowsMax);
  assert.ok(ports.includes(1) && !ports.includes(2) && ports.includes(dropFlowsMax + 1));
});
