import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readDrops } from '../../../cni/agent/drop-reader.ts';
import { DropLog } from '../../../cni/agent/drops.ts';
import { droppedPackets, packetCounts } from '../../../cni/agent/packet-counters.ts';
import { bootTimeNs } from '../../../cni/kernel/boot-time.ts';
import type { BpfObject } from '../../../cni/kernel/libbpf.ts';
import { PROTOCOL } from '../../../cni/maps/constants.ts';
import { drop as dropEvent } from '../../../cni/maps/layouts.ts';
import { RINGS, TABLES } from '../../../cni/maps/tables.ts';
import { systemClock } from '../../../common/clock.ts';
import { silentLogger } from '../../../common/log.ts';
import { AgentWorld } from '../../support/agent-world.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import { frame } from '../packets/craft.ts';
import { Datapath, IFINDEX } from '../packets/datapath.ts';

leakCheck();

const deadlineMs = 10_000;
/** `struct __sk_buff`: `ingress_ifindex`. */
const CONTEXT_BYTES = 192;
const INGRESS_IFINDEX_AT = 36;

/** A pod that sends from an address that isn't its own. */
const SPOOFED = frame({
  from: '10.244.2.7',
  to: '10.244.1.6',
  protocol: PROTOCOL.TCP,
  destinationPort: 8080,
});

let path: Datapath;
let object: BpfObject;
before(() => {
  path = new Datapath();
  object = path.object;
});
after(() => path[Symbol.dispose]());

function dropPackets(count: number): void {
  const context = Buffer.alloc(CONTEXT_BYTES);
  context.writeUInt32LE(IFINDEX.a, INGRESS_IFINDEX_AT);
  object.program('from_pod').testRun({ data: SPOOFED, context, repeat: count });
}

test('what the kernel drops is told with names and the time of day, and what the ring had no room for is counted', async () => {
  const counters = object.map(TABLES.counter.name);
  const drops = new DropLog({ node: 'n1', clock: systemClock, bootTimeNs });
  drops.know(new AgentWorld(systemClock).knowledge());
  const before = Date.now();
  const reader = readDrops({
    ...{ ring: object.map(RINGS.drop.name), counters, drops, clock: systemClock, log: silentLogger },
  });
  try {
    dropPackets(1);
    await eventually(() => drops.records().length === 1, { deadlineMs, what: 'the drop is read' });
    const [record] = drops.records();
    assert.deepEqual(
      [record?.reason, record?.direction, record?.from.name, record?.to.name, record?.to.port],
      ['spoofed', 'egress', 'shop/far', 'shop/db', 8080],
    );
    const atMs = Date.parse(record?.at ?? '');
    assert.ok(atMs >= before - 5 && atMs <= Date.now() + 5, `${record?.at} is now`);
    await eventually(() => drops.counts().lost === 0, { deadlineMs, what: 'nothing was lost' });

    // One call of the kernel drops more than the ring holds: nobody can read meanwhile.
    const roomMax = Math.ceil(RINGS.drop.bytesMax / dropEvent.sizeBytes);
    dropPackets(3 * roomMax);
    await eventually(() => drops.counts().packets + (drops.counts().lost ?? 0) === 3 * roomMax + 1, {
      ...{ deadlineMs, what: 'every drop is read or counted as lost' },
    });
    assert.ok((drops.counts().lost ?? 0) >= 2 * roomMax, 'the ring holds no more than its size');
    assert.equal(droppedPackets(packetCounts(counters)), 3 * roomMax + 1);
    assert.ok(drops.records().length <= 4, 'a flood of one flow is a record a second');
  } finally {
    reader.close();
    drops.close();
  }
});

test('an agent that starts anew tells what waits in the ring, and takes it for no loss', async () => {
  dropPackets(10);
  const drops = new DropLog({ node: 'n1', clock: systemClock, bootTimeNs });
  const reader = readDrops({
    ...{ ring: object.map(RINGS.drop.name), counters: object.map(TABLES.counter.name), drops },
    ...{ clock: systemClock, log: silentLogger },
  });
  try {
    assert.equal(drops.counts().packets, 10);
    dropPackets(5);
    await eventually(() => drops.counts().packets === 15 && drops.counts().lost === 0, {
      ...{ deadlineMs, what: 'the rest is read, and nothing counts as lost' },
    });
  } finally {
    reader.close();
    drops.close();
  }
});
