import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { findEnvoy } from '../support/envoy.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { isInStep, programmedOf, proxyOf } from './control-plane/api.ts';
import { type AppHandler, startApp, type TestApp } from './mesh/app.ts';
import { namespaceYaml, strictYaml, trafficPolicyYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh } from './mesh/harness.ts';
import type { XdsApi } from './stock-envoy/bootstrap.ts';
import { plainServiceYaml, RULES, routeYaml } from './stock-envoy/documents.ts';
import { startH2App } from './stock-envoy/h2-app.ts';
import { type StockEnvoy, startEnvoy } from './stock-envoy/process.ts';

leakCheck();

const envoy = findEnvoy();
const REASON = envoy.ok ? false : envoy.error;

/** How long the apps take for `/slow`. */
const SLOW_MS = 1_500;

let mesh: TestMesh;
let plain: TestApp;
const versions: Record<string, TestApp> = {};

before(async () => {
  if (!envoy.ok) return;
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  const service = { namespace: 'shop', port: 80, targetPort: 8080 };
  mesh.addService({ ...service, name: 'catalog', selector: { app: 'v1' } });
  for (const version of ['v1', 'v2']) {
    mesh.addService({ ...service, name: `catalog-${version}`, selector: { app: version } });
    const app: AppHandler = ({ url }, response) => {
      if (url === '/slow') setTimeout(() => response.end(version), SLOW_MS);
      else response.end(version);
    };
    const pod = await mesh.addPod({ namespace: 'shop', name: version, serviceAccount: version, app });
    versions[version] = pod.app;
  }
  plain = await startApp((_request, response) => response.end('plain'));
  mesh.apply('plain.yaml', plainServiceYaml(plain.port));
  useRules(RULES.byHeader);
});

after(async () => {
  await mesh?.close();
  await plain?.stop();
});

const proxy = (stock: StockEnvoy) => proxyOf(mesh.ports().dashboard, `shop/${stock.pod.name}`);
const programmed = () => programmedOf(mesh.ports().dashboard, 'HTTPRoute', 'catalog');
const useRules = (rules: string) => mesh.apply('route.yaml', routeYaml(rules));

interface Stat {
  readonly name: string;
  readonly value: number;
}

async function statsOf(stock: StockEnvoy, filter: string): Promise<readonly Stat[]> {
  const page = (await stock.admin(`/stats?format=json&filter=${filter}`)) as {
    readonly stats: readonly Stat[];
  };
  return page.stats;
}

function envoyPod(name: string, address: number) {
  const labels = { app: name };
  const ip = `127.245.0.${address}`;
  return { namespace: 'shop', name, labels, serviceAccount: 'edge', ip, meshed: false, port: 9999 };
}

async function start(name: string, protocol: XdsApi, address: number, outboundAddress = '127.0.0.1') {
  assert.ok(envoy.ok);
  const outbound = { outboundAddress, outboundPort: 0 };
  return startEnvoy(mesh, { binary: envoy.value, api: protocol, pod: envoyPod(name, address), outbound });
}

/** The first body that answers; what Envoy says until its configuration is there does not count. */
async function answers(stock: StockEnvoy, host: string, wanted: string, headers = {}): Promise<void> {
  await eventually(
    async () => {
      const page = await stock.request(host, '/items', { headers }).catch(() => undefined);
      return page?.status === 200 && page.body === wanted;
    },
    { deadlineMs: 10_000, what: `${host} is answered by ${wanted}` },
  );
}

for (const [protocol, spoken, name, address] of [
  ['DELTA_GRPC', 'delta', 'edge-delta', 1],
  ['GRPC', 'state-of-the-world', 'edge-sotw', 2],
] as const) {
  describe(`a stock Envoy over ${spoken} xDS`, { skip: REASON }, () => {
    let stock: StockEnvoy;
    before(async () => {
      useRules(RULES.byHeader);
      stock = await start(name, protocol, address);
    });
    after(() => stock?.stop());

    test('carries a request by header over mTLS to a STRICT sidecar, which sees who called', async () => {
      await answers(stock, 'catalog', 'v1');
      await answers(stock, 'catalog', 'v2', { 'x-user': 'beta' });
      const seen = String(versions.v2?.received.at(-1)?.headers['x-forwarded-client-cert']);
      assert.match(seen, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/edge/);
    });

    test('dials an endpoint outside the mesh in plaintext', async () => {
      await answers(stock, 'plain.shop', 'plain');
      assert.equal(plain.received.at(-1)?.headers['x-forwarded-client-cert'], undefined);
    });

    test('follows an edit of the route while it runs', async () => {
      useRules(RULES.v2);
      const editedMs = performance.now();
      await answers(stock, 'catalog', 'v2');
      assert.ok(performance.now() - editedMs < 2_000);
    });

    test('splits by weight', async () => {
      useRules(RULES.split);
      await answers(stock, 'catalog', 'v1');
      await answers(stock, 'catalog', 'v2');
      const bodies = [];
      for (let index = 0; index < 200; index++) bodies.push((await stock.request('catalog', '/')).body);
      const share = bodies.filter((body) => body === 'v2').length / bodies.length;
      assert.ok(share > 0.1 && share < 0.4, `a quarter of the weight got ${share} of the requests`);
    });

    test('edits headers both ways, with a literal percent sign in them', async () => {
      useRules(RULES.headers);
      await eventually(async () => (await stock.request('catalog', '/')).headers['x-answer'] === '100%', {
        deadlineMs: 10_000,
        what: 'the response filter is in force',
      });
      await stock.request('catalog', '/', {
        headers: { 'x-secret': 'gone', 'x-many': 'one', 'x-set': 'old' },
      });
      const headers = versions.v1?.received.at(-1)?.headers ?? {};
      assert.equal(headers['x-set'], '50% of %REQ(x-secret)%');
      assert.equal(headers['x-secret'], undefined);
      assert.match(String(headers['x-many']), /^one, ?two$/);
    });

    test('gives up after the timeout of the rule', async () => {
      useRules(RULES.timeout);
      await eventually(async () => (await stock.request('catalog', '/slow')).status === 504, {
        deadlineMs: 10_000,
        what: 'the timeout is in force',
      });
      const startedMs = performance.now();
      const { status } = await stock.request('catalog', '/slow');
      const tookMs = performance.now() - startedMs;
      assert.equal(status, 504);
      assert.ok(tookMs > 250 && tookMs < 2_000, `${tookMs} ms`);
    });

    test('answers 500 where a rule leads nowhere, and goes on where it leads somewhere again', async () => {
      useRules(RULES.nowhere);
      await eventually(async () => (await stock.request('catalog', '/')).status === 500, {
        deadlineMs: 10_000,
        what: 'the broken reference is in force',
      });
      useRules(RULES.byHeader);
      await answers(stock, 'catalog', 'v1');
    });

    test('takes a policy of a backend up at once', async () => {
      const connectionsMax = 70 + address;
      mesh.apply(
        'policy.yaml',
        trafficPolicyYaml('catalog-v1', `limits: {maxConnections: ${connectionsMax}}`),
      );
      const inForce = async () =>
        JSON.stringify(await stock.admin('/config_dump?mask=dynamic_active_clusters')).includes(
          `"max_connections":${connectionsMax},`,
        );
      // Well before Envoy gives up on endpoints that it waits for with a changed cluster (15 s).
      await eventually(inForce, { deadlineMs: 3_000, what: 'the changed cluster is warm and active' });
      await answers(stock, 'catalog', 'v1');
    });

    test('has refused nothing, and holds the trust bundle of the control plane', async () => {
      await eventually(async () => isInStep(await proxy(stock)), {
        deadlineMs: 10_000,
        what: 'every response is acknowledged',
      });
      const seen = await proxy(stock);
      assert.equal(seen?.protocol, spoken);
      assert.equal(seen?.lastNack, undefined);
      const rejected = await statsOf(stock, 'update_rejected');
      assert.ok(rejected.length >= 4, JSON.stringify(rejected));
      assert.deepEqual([...new Set(rejected.map(({ value }) => value))], [0]);
      assert.match(
        JSON.stringify(await stock.admin('/config_dump?mask=dynamic_active_secrets')),
        /trust-bundle/,
      );
    });

    test('makes the route Programmed with its acknowledgement', async () => {
      await eventually(async () => (await programmed())?.status === 'True', {
        deadlineMs: 5_000,
        what: 'the route is Programmed',
      });
      assert.equal((await programmed())?.message, 'acknowledged by 1 proxy');
    });
  });
}

describe('a stock Envoy and its control plane', { skip: REASON }, () => {
  test('a listener that Envoy cannot open is refused once, with its reason told', async () => {
    const stock = await start('edge-elsewhere', 'DELTA_GRPC', 3, '203.0.113.9');
    try {
      await eventually(async () => (await proxy(stock))?.lastNack !== undefined, {
        deadlineMs: 10_000,
        what: 'the refusal reached the control plane',
      });
      const nack = (await proxy(stock))?.lastNack;
      assert.equal(nack?.type, 'Listener');
      assert.equal(nack?.resource, 'outbound');
      assert.match(nack?.message ?? '', /203\.0\.113\.9/);
      useRules(RULES.split);
      await eventually(async () => (await programmed())?.message.startsWith('no connected') === true, {
        deadlineMs: 5_000,
        what: 'nobody holds the route, as the listener that would ask for it never came',
      });
      const [rejected] = await statsOf(stock, 'listener_manager.lds.update_rejected');
      assert.equal(rejected?.value, 1);
    } finally {
      await stock.stop();
    }
  });

  test('it serves on while the control plane is dead, and follows it again afterwards', async () => {
    useRules(RULES.byHeader);
    const stock = await start('edge-survivor', 'DELTA_GRPC', 4);
    try {
      await answers(stock, 'catalog', 'v1');
      await mesh.controlPlane().stop('SIGKILL');
      assert.equal((await stock.request('catalog', '/')).body, 'v1');
      await mesh.startControlPlane();
      useRules(RULES.v2);
      await eventually(async () => (await stock.request('catalog', '/')).body === 'v2', {
        deadlineMs: 30_000,
        what: 'the edit reached Envoy',
      });
      assert.equal((await proxy(stock))?.lastNack, undefined);
    } finally {
      await stock.stop();
    }
  });

  test('HTTP/2 reaches an app that speaks it, inside the mTLS of its sidecar', async () => {
    const app = await startH2App('over HTTP/2');
    const env = { HEDDLE_CONTAINER_PORTS: `8080=${app.port}` };
    const pod = await mesh.addPod({ namespace: 'shop', name: 'h2', serviceAccount: 'h2', env });
    const service = { namespace: 'shop', name: 'h2', port: 80, targetPort: 8080, portName: 'http2' };
    mesh.addService({ ...service, selector: { app: 'h2' } });
    const stock = await start('edge-h2', 'DELTA_GRPC', 5);
    try {
      await answers(stock, 'h2', 'over HTTP/2');
    } finally {
      await stock.stop();
      await pod.remove();
      await app.close();
    }
  });
});
