import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { test } from 'node:test';
import { parseOptions, USAGE } from './options.ts';

const NEEDED = ['--manifests', 'demo', '--state-dir', 'state'];

test('two flags are enough: the contract has the rest', () => {
  const parsed = parseOptions(NEEDED);
  assert.deepEqual(parsed, {
    ok: true,
    value: {
      manifests: ['demo'],
      kubernetes: undefined,
      settingsFile: 'demo/mesh.yaml',
      namespace: 'heddle-system',
      caSecret: 'heddle-ca',
      replica: hostname().toLowerCase(),
      stateDir: 'state',
      traceDiskBytesMax: 2 * 1024 ** 3,
      listen: '127.0.0.1',
      dashboardListen: '127.0.0.1',
      ports: { xds: 15012, otlpGrpc: 4317, otlpHttp: 4318, dashboard: 15080, metrics: 15014 },
      tokenIssuerKeyFile: undefined,
      nodeAgents: [],
      portsFile: undefined,
      logLevel: 'info',
    },
  });
});

test('every flag is heard', () => {
  const parsed = parseOptions([
    ...[
      '--manifests',
      'a',
      '--manifests',
      'b',
      '--settings',
      's.yaml',
      '--state-dir',
      'd',
      '--listen',
      '::1',
      '--dashboard-listen',
      '127.0.0.2',
    ],
    ...['--xds-port', '1', '--otlp-grpc-port', '2', '--otlp-http-port', '3', '--dashboard-port', '4'],
    ...[
      '--metrics-port',
      '0',
      '--token-issuer-key',
      'k.pem',
      '--ports-file',
      'p.json',
      '--node-agent',
      'a.sock',
      '--node-agent',
      'b.sock',
      '--ca-secret',
      'operators-root',
      '--replica',
      'heddle-control-plane-1',
      '--log-level',
      'debug',
    ],
    '--trace-store-size-limit=0.5Gi',
  ]);
  assert.deepEqual(parsed, {
    ok: true,
    value: {
      manifests: ['a', 'b'],
      kubernetes: undefined,
      settingsFile: 's.yaml',
      namespace: 'heddle-system',
      caSecret: 'operators-root',
      replica: 'heddle-control-plane-1',
      stateDir: 'd',
      traceDiskBytesMax: 512 * 1024 ** 2,
      listen: '::1',
      dashboardListen: '127.0.0.2',
      ports: { xds: 1, otlpGrpc: 2, otlpHttp: 3, dashboard: 4, metrics: 0 },
      tokenIssuerKeyFile: 'k.pem',
      nodeAgents: ['a.sock', 'b.sock'],
      portsFile: 'p.json',
      logLevel: 'debug',
    },
  });
});

const ON_KUBERNETES = ['--kubernetes', '--state-dir', 'd'];

test('an API server is named by a kubeconfig, or found as the pod that this is', () => {
  const asPod = parseOptions(ON_KUBERNETES);
  assert.ok(asPod.ok && asPod.value !== 'help');
  assert.deepEqual(asPod.value.kubernetes, { kubeconfig: undefined, context: undefined });
  assert.deepEqual(asPod.value.manifests, []);
  const named = parseOptions([
    ...[...ON_KUBERNETES, '--kubeconfig', 'k', '--context', 'c'],
    ...['--namespace', 'mesh'],
  ]);
  assert.ok(named.ok && named.value !== 'help');
  assert.deepEqual(named.value.kubernetes, { kubeconfig: 'k', context: 'c' });
  assert.equal(named.value.namespace, 'mesh');
});

const WRONG: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['no manifests', ['--state-dir', 'd'], /--manifests or --kubernetes is required/],
  ['an empty folder name', ['--manifests', '', '--state-dir', 'd'], /--manifests must not be empty/],
  ['folders and an API server', [...NEEDED, '--kubernetes'], /exclude each other/],
  ['a kubeconfig and no API server', [...NEEDED, '--kubeconfig', 'k'], /--kubeconfig and --context are for/],
  ['a context and no kubeconfig', [...ON_KUBERNETES, '--context', 'c'], /--context needs --kubeconfig/],
  ['a namespace that is none', [...NEEDED, '--namespace', 'A b'], /--namespace must be the name/],
  ['a Secret that is none', [...NEEDED, '--ca-secret', 'A b'], /--ca-secret must be the name/],
  ['a replica without a name', [...NEEDED, '--replica', ''], /--replica must be a pod's name/],
  ['no state directory', ['--manifests', 'a'], /--state-dir is required/],
  ['an empty state directory', ['--manifests', 'a', '--state-dir', ''], /--state-dir must not be empty/],
  [
    'a trace store too small for its own log',
    [...NEEDED, '--trace-store-size-limit', '63Mi'],
    /--trace-store-size-limit must be a size such as 2Gi, and at least 64Mi/,
  ],
  ['a size in words', [...NEEDED, '--trace-store-size-limit', 'lots'], /must be a size such as 2Gi/],
  ['a port in words', [...NEEDED, '--xds-port', 'http'], /--xds-port must be a port number/],
  ['a port beyond all', [...NEEDED, '--metrics-port', '65536'], /--metrics-port must be a port number/],
  ['a negative port', [...NEEDED, '--dashboard-port=-1'], /--dashboard-port must be a port number/],
  ['an empty port', [...NEEDED, '--xds-port', ''], /--xds-port must be a port number/],
  [
    'two bad ports',
    [...NEEDED, '--xds-port', 'x', '--otlp-http-port', 'y'],
    /xds-port .*; --otlp-http-port /,
  ],
  ['a host name to listen on', [...NEEDED, '--listen', 'localhost'], /--listen must be an IP address/],
  [
    'a host name for the dashboard',
    [...NEEDED, '--dashboard-listen', 'localhost'],
    /--dashboard-listen must be an IP address/,
  ],
  ['an unknown log level', [...NEEDED, '--log-level', 'loud'], /--log-level must be debug, info/],
  ['an unknown flag', [...NEEDED, '--state', 'd'], /--state/],
  ['a word that belongs to no flag', [...NEEDED, 'demo'], /demo/],
  ['a flag without its value', [...NEEDED, '--settings'], /--settings/],
];

for (const [what, args, message] of WRONG) {
  test(`wrong usage: ${what}`, () => {
    const parsed = parseOptions(args);
    assert.ok(!parsed.ok);
    assert.equal(parsed.error.code, 'usage');
    assert.match(parsed.error.message, message);
  });
}

test('help wins over everything, and names every flag', () => {
  assert.deepEqual(parseOptions(['--help']), { ok: true, value: 'help' });
  const flags = [...USAGE.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, flag]) => flag);
  assert.equal(flags.length, 21);
  for (const flag of flags) {
    const parsed = parseOptions([flag ?? '']);
    assert.ok(!parsed.ok && !/[Uu]nknown/.test(parsed.error.message), `${flag} is known`);
  }
});
