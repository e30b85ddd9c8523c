import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { jsonLogger, silentLogger } from '../../common/log.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { type LocalPod, LocalPods } from './local-pods.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-pods-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function pod(containerId: string, podId: number): LocalPod {
  return {
    ...{
      containerId,
      ifname: 'eth0',
      netns: `/run/netns/${containerId}`,
      namespace: 'shop',
      name: containerId,
    },
    ...{
      uid: 'u',
      ips: [`10.244.1.${podId}`],
      hostIfname: 'hdl',
      hostIfindex: podId,
      podId,
      captured: false,
    },
    ...{ podMac: '02:00:00:00:00:01', hostMac: 'ee:ee:ee:ee:ee:ee', netnsCookie: String(2n ** 63n) },
    ...{ hostPorts: [], skip: { inbound: [], outbound: [], cidrs: [] } },
  };
}

test('what was added is known to the next agent, byte for byte, until it is deleted', () => {
  const first = new LocalPods(directory, silentLogger);
  first.set(pod('a', 1));
  first.set(pod('b/..', 2));
  const second = new LocalPods(directory, silentLogger);
  assert.deepEqual(new Set(second.all()), new Set([pod('a', 1), pod('b/..', 2)]));
  assert.deepEqual(second.find('a', 'eth0'), pod('a', 1));
  assert.deepEqual(second.byAddress('10.244.1.2'), pod('b/..', 2));
  second.delete('a', 'eth0');
  second.delete('a', 'eth0');
  assert.deepEqual(new LocalPods(directory, silentLogger).all(), [pod('b/..', 2)]);
});

test('no two pods have one number, also after a restart', () => {
  const first = new LocalPods(directory, silentLogger);
  const numbers = ['a', 'b', 'c'].map((name) => {
    const number = first.nextPodId();
    first.set(pod(name, number));
    return number;
  });
  const next = new LocalPods(directory, silentLogger).nextPodId();
  assert.equal(new Set([...numbers, next]).size, 4);
});

test('a file that is broken is reported, and the others are read', () => {
  new LocalPods(directory, silentLogger).set(pod('a', 1));
  writeFileSync(join(directory, 'b.eth0.json'), '{"containerId":');
  const lines: string[] = [];
  const log = jsonLogger(new VirtualClock(), (line) => lines.push(line));
  assert.deepEqual(new LocalPods(directory, log).all(), [pod('a', 1)]);
  assert.match(lines.join(''), /unreadable.*b\.eth0\.json/);
});

test('a pod whose namespace is gone stands no more, keeps its address, and is known until its DEL', () => {
  const pods = new LocalPods(directory, silentLogger);
  for (const one of [pod('a', 1), pod('b', 2)]) pods.set(one);
  assert.equal(pods.retire(pod('a', 1)), true);
  assert.equal(pods.retire(pod('a', 1)), false, 'it is told once');
  assert.deepEqual(
    pods.standing().map(({ name }) => name),
    ['b'],
  );
  assert.equal(pods.byAddress('10.244.1.1'), undefined);
  assert.equal(pods.all().length, 2);
  assert.ok(pods.find('a', 'eth0'));
  assert.notEqual(pods.nextPodId(), 1);
  pods.set(pod('a', 1));
  assert.equal(pods.standing().length, 2, 'an ADD makes it stand again');
  pods.retire(pod('a', 1));
  pods.delete('a', 'eth0');
  assert.equal(pods.all().length, 1);
});
