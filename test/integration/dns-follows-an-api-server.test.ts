import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseOptions } from '../../cni/dns/options.ts';
import { type DnsProcess, startDns } from '../../cni/dns/start.ts';
import { systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { systemRandom } from '../../common/random.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { FakeApi } from '../support/kubernetes/fake-api.ts';
import { type HttpApi, serveApi } from '../support/kubernetes/http.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

const api = new FakeApi([KINDS.namespace, KINDS.service, KINDS.endpointSlice, KINDS.pod]);
const folder = mkdtempSync(join(tmpdir(), 'heddle-dns-kubernetes-'));
let http: HttpApi;
let dns: DnsProcess;
let resolver: Resolver;

function putService(name: string, clusterIP: string): void {
  const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];
  const spec = { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], ports };
  api.put(KINDS.service, { metadata: { namespace: 'shop', name }, spec });
}

before(async () => {
  http = await serveApi(api);
  const kubeconfig = join(folder, 'kubeconfig');
  const cluster = { server: http.server, 'insecure-skip-tls-verify': true };
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c' },
      ...{ clusters: [{ name: 'c', cluster }], users: [{ name: 'u', user: { token: 't' } }] },
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    }),
  );
  api.put(KINDS.namespace, { metadata: { name: 'shop' } });
  putService('cart', '10.96.0.20');
  const args = ['--kubernetes', '--kubeconfig', kubeconfig, '--listen', '127.0.0.1', '--port', '0'];
  const parsed = parseOptions([...args, '--resolv-conf', join(folder, 'none')]);
  assert.ok(parsed.ok && parsed.value !== 'help');
  dns = await startDns(parsed.value, { clock: systemClock, random: systemRandom, log: silentLogger });
  resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${dns.ports.dns}`]);
});

after(async () => {
  await dns.close();
  await http.close();
  rmSync(folder, { recursive: true, force: true });
});

const addresses = (name: string) => resolver.resolve4(`${name}.shop.svc.cluster.local`).catch(() => []);

test('names are those of the API server, before its restart and after it', async () => {
  assert.deepEqual(await addresses('cart'), ['10.96.0.20']);
  assert.deepEqual(await addresses('later'), []);
  api.restart();
  putService('later', '10.96.0.21');
  const isAnswered = async () => (await addresses('later'))[0] === '10.96.0.21';
  await eventually(isAnswered, { deadlineMs: 10_000, what: 'the new Service is answered for' });
  assert.deepEqual(await addresses('cart'), ['10.96.0.20']);
});
