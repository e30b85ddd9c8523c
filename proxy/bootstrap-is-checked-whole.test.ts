import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appProbesMax } from './admin/app-probe-spec.ts';
import { type Environment, onSharedLoopback, readBootstrap } from './bootstrap.ts';
import { containerPortsMax } from './bootstrap-values.ts';

const GOOD: Environment = {
  HEDDLE_CONTROL_PLANE: 'heddle-control-plane.heddle-system.svc:15012',
  HEDDLE_POD_NAME: 'catalog-6d4cf56db6-x7k2p',
  HEDDLE_POD_NAMESPACE: 'shop',
  HEDDLE_POD_IP: '10.244.0.7',
  HEDDLE_NODE_NAME: 'node-1.example',
  HEDDLE_SERVICE_ACCOUNT: 'catalog',
  HEDDLE_TOKEN_FILE: '/var/run/heddle/token',
  HEDDLE_ROOT_FILE: '/var/run/heddle/root.pem',
};

function good(env: Environment = {}) {
  const read = readBootstrap({ ...GOOD, ...env });
  if (!read.ok) assert.fail(read.error.join('\n'));
  return read.value;
}

function problems(env: Environment): readonly string[] {
  const read = readBootstrap({ ...GOOD, ...env });
  return read.ok ? [] : read.error;
}

test('what is not said has the defaults of a captured pod', () => {
  const bootstrap = good();
  assert.equal(bootstrap.capture, 'transparent');
  assert.equal(bootstrap.trustDomain, 'cluster.local');
  assert.equal(bootstrap.logLevel, 'info');
  assert.deepEqual(bootstrap.podIps, ['10.244.0.7']);
  assert.equal(bootstrap.traceSamplingPercent, undefined);
  assert.equal(bootstrap.otlpEndpoint, 'heddle-control-plane.heddle-system.svc:4317');
  assert.equal(bootstrap.serviceName, 'catalog');
  assert.equal(bootstrap.appMetrics, undefined);
  assert.equal(bootstrap.appProbes.size, 0);
  assert.deepEqual(bootstrap.unknown, []);
});

test('everything that is said is taken', () => {
  const bootstrap = good({
    HEDDLE_CAPTURE: 'http-proxy',
    HEDDLE_CONTAINER_PORTS: '8080=43121,9090=43122',
    HEDDLE_POD_IPS: '10.244.0.7,fd10:244::7',
    HEDDLE_TRUST_DOMAIN: 'example.org',
    HEDDLE_OTLP_ENDPOINT: '[fd00::1]:4317',
    HEDDLE_LOG_LEVEL: 'debug',
    HEDDLE_TRACE_SAMPLING: '12.5',
    HEDDLE_SERVICE_NAME: 'catalog-next',
    HEDDLE_APP_PROMETHEUS: '9090/metrics?format=text',
    HEDDLE_CONCURRENCY: '1',
    HEDDLE_APP_PROBES: JSON.stringify({
      web: {
        livez: { httpGet: { path: 'healthz', port: 8080, httpHeaders: [{ name: 'X-A', value: 'b' }] } },
        readyz: { tcpSocket: { port: 9090 }, timeoutSeconds: 3, periodSeconds: 1 },
        startupz: { grpc: { port: 9091, service: 'shop.Catalog' } },
      },
    }),
  });
  assert.equal(bootstrap.capture, 'http-proxy');
  assert.deepEqual(bootstrap.containerPorts, [
    { port: 8080, appPort: 43121 },
    { port: 9090, appPort: 43122 },
  ]);
  assert.deepEqual(bootstrap.podIps, ['10.244.0.7', 'fd10:244::7']);
  assert.equal(bootstrap.trustDomain, 'example.org');
  assert.equal(bootstrap.otlpEndpoint, '[fd00::1]:4317');
  assert.equal(bootstrap.logLevel, 'debug');
  assert.equal(bootstrap.traceSamplingPercent, 12.5);
  assert.equal(bootstrap.serviceName, 'catalog-next');
  assert.deepEqual(bootstrap.appMetrics, { port: 9090, path: '/metrics?format=text' });
  assert.deepEqual(Object.fromEntries(bootstrap.appProbes), {
    '/app-health/web/livez': {
      ...{ kind: 'http', timeoutMs: 1_000, port: 8080, host: undefined, path: '/healthz', tls: false },
      headers: [['X-A', 'b']],
    },
    '/app-health/web/readyz': { kind: 'tcp', timeoutMs: 3_000, port: 9090, host: undefined },
    '/app-health/web/startupz': { kind: 'grpc', timeoutMs: 1_000, port: 9091, service: 'shop.Catalog' },
  });
});

test('all problems are told at once, each with its variable', () => {
  const read = readBootstrap({ HEDDLE_CAPTURE: 'iptables', HEDDLE_LOG_LEVEL: 'verbose' });
  assert.ok(!read.ok);
  assert.deepEqual(
    read.error.map((line) => line.split(' ')[0]),
    [
      ...['HEDDLE_CONTROL_PLANE', 'HEDDLE_POD_NAME', 'HEDDLE_POD_NAMESPACE', 'HEDDLE_POD_IP'],
      ...['HEDDLE_SERVICE_ACCOUNT', 'HEDDLE_TOKEN_FILE', 'HEDDLE_ROOT_FILE', 'HEDDLE_CAPTURE'],
      ...['HEDDLE_NODE_NAME', 'HEDDLE_LOG_LEVEL'],
    ],
  );
});

test('each wrong value is refused with what it must look like', () => {
  const wrong: readonly (readonly [variable: string, value: string, says: RegExp])[] = [
    ['CONTROL_PLANE', 'somewhere', /must be host:port, not "somewhere"/],
    ['CONTROL_PLANE', 'somewhere:99999', /must be host:port/],
    ['POD_NAME', 'web~x', /lower-case letters/],
    ['POD_NAMESPACE', 'shop.other', /must be a name/],
    ['POD_IP', 'localhost', /must be an IP address/],
    ['POD_IPS', '10.0.0.1,no', /not "no"/],
    ['POD_IPS', '10.0.0.1', /must hold HEDDLE_POD_IP \(10\.244\.0\.7\)/],
    ['SERVICE_ACCOUNT', '../admin', /must be a name/],
    ['TRUST_DOMAIN', 'Cluster.Local', /lower-case/],
    ['CAPTURE', 'on', /must be transparent or http-proxy/],
    ['CONTAINER_PORTS', '8080=1', /HEDDLE_CAPTURE=http-proxy only/],
    ['CONTAINER_PORTS', '8080', /pairs of container port and app port/],
    ['CONTAINER_PORTS', '8080=1,8080=2', /container port 8080 twice/],
    ['CONTAINER_PORTS', '0=1', /pairs/],
    ['OTLP_ENDPOINT', 'http://collector:4317', /host:port/],
    ['LOG_LEVEL', 'trace', /debug or info or warn or error/],
    ['TRACE_SAMPLING', '101', /percentage from 0 to 100/],
    ['TRACE_SAMPLING', 'all', /percentage/],
    ['CONCURRENCY', '2', /one worker/],
    ['APP_PROMETHEUS', '/metrics', /a port and a path/],
    ['APP_PROMETHEUS', '9090/a\r\nb', /a port and a path/],
    ['APP_PROBES', '{', /must be JSON/],
    ['APP_PROBES', '[]', /JSON object of containers/],
    ['APP_PROBES', '{"web":{"health":{}}}', /web\.health: is none of livez, readyz, startupz/],
    ['APP_PROBES', '{"web":{"livez":{"exec":{}}}}', /web\.livez: must have httpGet, tcpSocket or grpc/],
    ['APP_PROBES', '{"web":{"livez":{"httpGet":{"port":"http"}}}}', /httpGet\.port: must be a port number/],
    ['APP_PROBES', '{"web":{"livez":{"httpGet":{"port":1,"scheme":"FTP"}}}}', /HTTP or HTTPS/],
    ['APP_PROBES', '{"web":{"livez":{"tcpSocket":{"port":1},"timeoutSeconds":0}}}', /timeoutSeconds/],
    [
      'APP_PROBES',
      '{"web":{"livez":{"httpGet":{"port":1,"httpHeaders":[{"name":"a","value":"b\\r\\nc: d"}]}}}}',
      /that HTTP allows/,
    ],
  ];
  for (const [variable, value, says] of wrong) {
    const told = problems({ [`HEDDLE_${variable}`]: value });
    assert.equal(told.length, 1, `${variable}=${value}: ${told.join('; ')}`);
    assert.match(told[0] ?? '', new RegExp(`^HEDDLE_${variable} `), value);
    assert.match(told[0] ?? '', says, value);
  }
});

test('ports and probes have limits', () => {
  const ports = (count: number) =>
    Array.from({ length: count }, (_, index) => `${index + 1}=${index + 1}`).join(',');
  const http = { HEDDLE_CAPTURE: 'http-proxy' };
  assert.equal(
    good({ ...http, HEDDLE_CONTAINER_PORTS: ports(containerPortsMax) }).containerPorts.length,
    containerPortsMax,
  );
  assert.match(
    problems({ ...http, HEDDLE_CONTAINER_PORTS: ports(containerPortsMax + 1) }).join(),
    /may name 128 ports/,
  );
  const probes = (count: number) =>
    JSON.stringify(
      Object.fromEntries(
        Array.from({ length: count }, (_, index) => [`c${index}`, { livez: { tcpSocket: { port: 1 } } }]),
      ),
    );
  assert.equal(good({ HEDDLE_APP_PROBES: probes(appProbesMax) }).appProbes.size, appProbesMax);
  assert.match(problems({ HEDDLE_APP_PROBES: probes(appProbesMax + 1) }).join(), /may hold 96 probes/);
});

test('variables that mean nothing are named, not passed over', () => {
  assert.deepEqual(good({ HEDDLE_LOGLEVEL: 'debug', PATH: '/bin' }).unknown, ['HEDDLE_LOGLEVEL']);
});

test('a workload is called by what its pods have in common', () => {
  const names: readonly (readonly [pod: string, service: string])[] = [
    ['catalog-6d4cf56db6-x7k2p', 'catalog'],
    ['catalog-v1-0a1b2c3d4e-zz2xk', 'catalog-v1'],
    ['payments', 'payments'],
    ['catalog-v2', 'catalog-v2'],
    ['postgres-0', 'postgres-0'],
  ];
  for (const [pod, service] of names) assert.equal(good({ HEDDLE_POD_NAME: pod }).serviceName, service);
});

test("a loopback address is shared by all pods of the machine, others are a pod's own", () => {
  assert.equal(onSharedLoopback('127.244.0.7'), true);
  assert.equal(onSharedLoopback('10.127.0.1'), false);
  assert.equal(onSharedLoopback('::1'), false);
});
