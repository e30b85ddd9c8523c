import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { freePort } from '../../cli/local/free-port.ts';
import { systemRandom } from '../../common/random.ts';
import { leakCheck } from '../support/leak-check.ts';
import { appYaml, namespaceYaml } from './local-mesh/manifests.ts';
import { LocalMesh } from './local-mesh/run.ts';

leakCheck();

let mesh: LocalMesh;
let port: number;
const apps = (version: string) => appYaml({ name: 'api', replicas: 2, version });
before(async () => {
  mesh = new LocalMesh();
  port = await freePort(systemRandom);
  mesh.write('a-lab.yaml', namespaceYaml('lab', true) + appYaml({ name: 'web', publishedPort: port }));
  mesh.write('api.yaml', apps('v1'));
  await mesh.up();
});
after(() => mesh.close());

/** One visit on a connection of its own: through web's sidecar, web, its sidecar, and api's sidecar to api. */
function visit(): Promise<string> {
  const target = `http://127.0.0.1:${port}/call?url=${encodeURIComponent('http://api:8088/')}`;
  return new Promise((resolve) => {
    const request = http.get(target, { agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(outcome(text)));
      response.on('error', (error) => resolve(`failed: ${error.message}`));
    });
    request.on('error', (error) => resolve(`failed: ${error.message}`));
  });
}

function outcome(text: string): string {
  const { status, reason, body, error } = JSON.parse(text) as Record<string, string | number | null>;
  if (status === 200) return String((JSON.parse(String(body)) as { version: string }).version);
  return `failed: ${error ?? `${status} ${reason}`}`;
}

test('a rolling update replaces the pods without a failed request', async () => {
  const outcomes = new Map<string, number>();
  let running = true;
  const visitors = Array.from({ length: 3 }, async () => {
    while (running) {
      const result = await visit();
      outcomes.set(result, (outcomes.get(result) ?? 0) + 1);
    }
  });
  const reached = (version: string) =>
    mesh.until(
      async () => (await visit()) === version && (await pods(version)) === 2,
      `all pods of api are ${version}`,
    );
  await mesh.until(() => (outcomes.get('v1') ?? 0) > 20, 'visitors are served');
  for (const version of ['v2', 'v3']) {
    mesh.write('api.yaml', apps(version));
    await reached(version);
  }
  running = false;
  await Promise.all(visitors);
  const failed = [...outcomes].filter(([result]) => result.startsWith('failed'));
  assert.deepEqual(failed, [], JSON.stringify([...outcomes]));
  for (const version of ['v1', 'v2', 'v3']) assert.ok((outcomes.get(version) ?? 0) > 0, version);
});

/** Pods of api that run this version, where no other is left. */
async function pods(version: string): Promise<number> {
  const { out } = await mesh.heddle('get', 'pods', '-n', 'lab', '-o', 'json');
  const { items } = JSON.parse(out) as {
    items: { metadata: { name: string }; spec: { containers: { env: { value: string }[] }[] } }[];
  };
  const versions = items
    .filter((pod) => pod.metadata.name.startsWith('api-'))
    .map((pod) => pod.spec.containers[0]?.env[0]?.value);
  return versions.every((one) => one === version) ? versions.length : 0;
}
