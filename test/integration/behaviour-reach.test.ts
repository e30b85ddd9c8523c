import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { namespaceYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { askPage } from './mesh/pages.ts';

leakCheck();

let mesh: TestMesh;
let web: TestPod;
let other: TestPod;

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  other = await mesh.addPod({ namespace: 'shop', name: 'other' });
});

after(() => mesh?.close());

/** Everything heard on a raw connection to the pod's own sidecar until it ends. */
function raw(text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(15_001, web.record.ip, () => socket.write(text));
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1');
      if (heard.includes('x-heddle-reason')) socket.end();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(heard));
  });
}

test('nobody is led to control a sidecar, its own or another, by asking for it through one', async () => {
  for (const host of [
    web.record.ip,
    other.record.ip,
    '127.0.0.1',
    'localhost',
    '[::1]',
    '0.0.0.0',
    '2130706433',
  ]) {
    for (const port of [15_000, 15_001, 15_006, 15_009]) {
      const answer = await web.client.request(`http://${host}:${port}/quit`, {
        method: 'POST',
        headers: { host: `${host}:${port}` },
      });
      assert.deepEqual(
        [answer.status, answer.headers['x-heddle-reason']],
        [503, 'unknown-destination'],
        `${host}:${port}`,
      );
    }
  }
  const tunnel = await raw(`CONNECT ${other.record.ip}:15000 HTTP/1.1\r\nHost: a\r\n\r\n`);
  assert.match(tunnel, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: unknown-destination\r\n/);
  for (const pod of [web, other]) assert.equal(pod.sidecar.exited(), false);
});

test('health and metrics of another pod are for everybody', async () => {
  const health = await web.client.request(`http://${other.record.ip}:15021/healthz/ready`);
  assert.equal(health.status, 200);
  assert.equal((await web.client.request(`http://${other.record.ip}:15020/metrics`)).status, 200);
  assert.equal(
    (await askPage(`http://${web.record.ip}:15000/stats`)).status,
    200,
    'a person beside it may look',
  );
});
