import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLogger } from '../../common/log.ts';
import { localPod } from '../../test/support/agent-world.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { LocalPods } from './local-pods.ts';
import { Settling } from './settling.ts';

const directory = mkdtempSync(join(tmpdir(), 'heddle-settling-'));
after(() => rmSync(directory, { recursive: true, force: true }));

test('links are made one at a time, for those that stand and lack them, and one that can’t be made holds up nobody', async () => {
  const clock = new VirtualClock();
  const localPods = new LocalPods(directory, silentLogger);
  const pods = [1, 2, 3, 4].map((id) => localPod(`p${id}`, id, [`10.244.1.${id}`], false));
  for (const pod of pods) localPods.set(pod);
  const [linked, broken, gone] = pods;
  assert.ok(linked && broken && gone);
  localPods.retire(gone);
  const missing = new Map(pods.map(({ podId }) => [podId, podId === linked.podId ? 0 : 2]));
  const made: number[] = [];
  const settling = new Settling({
    ...{ localPods, nodeNetns: undefined, clock, log: silentLogger },
    programs: {
      settlePod({ podId }) {
        if (podId === broken.podId) throw new Error('no such device');
        const left = missing.get(podId) ?? 0;
        if (left === 0) return false;
        missing.set(podId, left - 1);
        made.push(podId);
        return true;
      },
    },
  });
  assert.equal(settling.waiting(), 3, 'of an earlier agent, but for the one that is gone');
  await clock.advance(100);
  assert.deepEqual(made, [4]);
  await clock.advance(100);
  assert.deepEqual(made, [4, 4]);
  await clock.advance(100);
  assert.equal(settling.waiting(), 0);
  settling.add(linked);
  settling.close();
  settling.add(linked);
  assert.equal(settling.waiting(), 0, 'nothing is begun after the end');
});
