import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leakCheck } from '../test/support/leak-check.ts';
import { parseOptions, shutdownDelayMaxMs, USAGE } from './options.ts';

leakCheck();

const REQUIRED = ['--control-plane', 'heddle-control-plane:15012', '--token-file', '/t', '--root-file', '/r'];

function problem(...args: readonly string[]): string {
  const parsed = parseOptions(args);
  return parsed.ok ? '' : parsed.error.message;
}

test('what is not said has the default of the contracts', () => {
  const parsed = parseOptions(REQUIRED);
  assert.deepEqual(parsed, {
    ok: true,
    value: {
      ...{ listen: '127.0.0.1', port: 15_017, tokenFile: '/t', rootFile: '/r', portsFile: undefined },
      ...{ revision: 'default', shutdownDelayMs: 0, logLevel: 'info' },
      sidecar: {
        ...{
          image: 'heddle-proxy',
          imagePullPolicy: undefined,
          imagePullSecrets: [],
          controlPlane: 'heddle-control-plane:15012',
        },
        ...{ trustDomain: 'cluster.local', capture: 'transparent' },
      },
    },
  });
});

test('everything that is said is heard', () => {
  const parsed = parseOptions([
    ...REQUIRED.slice(2),
    ...['--control-plane', '[::1]:1', '--listen', '::', '--port', '0', '--ports-file', '/p'],
    ...[
      '--trust-domain',
      'example.org',
      '--capture',
      'http-proxy',
      '--image',
      'registry.example/heddle-proxy:2',
    ],
    ...['--image-pull-policy', 'Never', '--image-pull-secret', 'a', '--image-pull-secret', 'b.c'],
    ...['--revision', 'r2', '--log-level', 'debug', '--shutdown-delay', '3s'],
  ]);
  assert.ok(parsed.ok && parsed.value !== 'help');
  const { listen, port, portsFile, revision, logLevel, sidecar, shutdownDelayMs } = parsed.value;
  assert.equal(shutdownDelayMs, 3_000);
  assert.deepEqual([listen, port, portsFile, revision, logLevel], ['::', 0, '/p', 'r2', 'debug']);
  assert.deepEqual(sidecar, {
    ...{ image: 'registry.example/heddle-proxy:2', controlPlane: '[::1]:1' },
    ...{ imagePullPolicy: 'Never', imagePullSecrets: ['a', 'b.c'] },
    ...{ trustDomain: 'example.org', capture: 'http-proxy' },
  });
});

test('each wrong flag is named', () => {
  assert.match(problem(), /--control-plane is required/);
  assert.match(problem(...REQUIRED.slice(0, 2)), /--token-file is required/);
  assert.match(problem(...REQUIRED.slice(0, 4)), /--root-file is required/);
  assert.match(problem(...REQUIRED, '--tls'), /--tls/);
  assert.match(problem(...REQUIRED, 'extra'), /extra/);
  for (const [flag, value] of [
    ['--control-plane', 'here'],
    ['--control-plane', 'here:0'],
    ['--control-plane', 'here:65536'],
    ['--trust-domain', 'spiffe://x'],
    ['--listen', 'localhost'],
    ['--port', '65536'],
    ['--port', '-1'],
    ['--capture', 'some'],
    ['--image', ''],
    ['--revision', 'R 2'],
    ['--revision', 'r'.repeat(42)],
    ['--image-pull-policy', 'Sometimes'],
    ['--image-pull-secret', 'A B'],
    ['--shutdown-delay', 'long'],
    ['--shutdown-delay', `${shutdownDelayMaxMs + 1}ms`],
    ['--log-level', 'loud'],
  ] as const)
    assert.match(
      problem(...REQUIRED, `${flag}=${value}`),
      new RegExp(`^${flag} must be`),
      `${flag} ${value}`,
    );
});

test('help lists every flag', () => {
  assert.deepEqual(parseOptions(['--help']), { ok: true, value: 'help' });
  for (const flag of ['control-plane', 'capture', 'image', 'revision', 'ports-file', 'shutdown-delay'])
    assert.ok(USAGE.includes(`--${flag} `), flag);
});
