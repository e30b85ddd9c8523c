import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseOptions, USAGE } from './options.ts';

const LEAST = ['--node', 'n1', '--manifests', '/m', '--cgroup', '/cg'];

test('what must be given is enough; the rest has the defaults of the contracts', () => {
  const parsed = parseOptions(LEAST);
  assert.ok(parsed.ok && parsed.value !== 'help');
  const { manifests, socket, pins, mode, uplink, podRanges, dnsAddresses } = parsed.value;
  assert.deepEqual(
    { manifests, socket, pins, mode, uplink, podRanges, dnsAddresses },
    {
      ...{ manifests: ['/m'], socket: '/run/heddle/cni.sock', pins: '/sys/fs/bpf/heddle/n1', mode: 'tunnel' },
      ...{ uplink: 'auto', podRanges: ['10.244.0.0/16', 'fd10:244::/56'] },
      dnsAddresses: ['10.96.0.10', 'fd10:96::a'],
    },
  );
});

test('an API server stands in the place of folders', () => {
  const parsed = parseOptions(['--node', 'n1', '--kubernetes', '--kubeconfig', 'k', '--cgroup', '/cg']);
  assert.ok(parsed.ok && parsed.value !== 'help');
  assert.deepEqual(parsed.value.kubernetes, { kubeconfig: 'k', context: undefined });
  assert.deepEqual(parsed.value.manifests, []);
});

const WRONG: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['no node', LEAST.slice(2), /--node must be/],
  ['a node with a slash', ['--node', 'a/b', ...LEAST.slice(2)], /--node must be/],
  ['no manifests', ['--node', 'n1', '--cgroup', '/cg'], /--manifests or --kubernetes is required/],
  ['folders and an API server', [...LEAST, '--kubernetes'], /exclude each other/],
  [
    'half a Service',
    [...LEAST, '--control-plane-service', 'heddle-control-plane'],
    /must be NAMESPACE\/NAME/,
  ],
  ['an unknown mode', [...LEAST, '--mode', 'ipip'], /--mode must be/],
  ['a device with a space', [...LEAST, '--uplink', 'e th'], /--uplink must be/],
  ['a range that is none', [...LEAST, '--pod-range', '10.0.0.0/33'], /10\.0\.0\.0\/33 is no CIDR/],
  ['a DNS name for DNS', [...LEAST, '--dns', 'dns.local'], /dns\.local is no IP address/],
  ['an unknown flag', [...LEAST, '--nodes', '2'], /nodes/],
  ['metrics without a port', [...LEAST, '--metrics', '127.0.0.1'], /--metrics must be/],
  ['half a place for the plugin', [...LEAST, '--cni-bin-dir', '/opt/cni/bin'], /both or not at all/],
  ['a chain without capture', [...LEAST, '--chain', 'auto'], /--chain is for --mode capture/],
  ['a level that is none', [...LEAST, '--log-level', 'loud'], /--log-level must be/],
];

for (const [what, args, message] of WRONG) {
  test(`wrong usage: ${what}`, () => {
    const parsed = parseOptions(args);
    assert.ok(!parsed.ok);
    assert.equal(parsed.error.code, 'usage');
    assert.match(parsed.error.message, message);
  });
}

test('the cgroup is looked for where none is given', () => {
  const parsed = parseOptions(LEAST.slice(0, 4));
  assert.ok(parsed.ok && parsed.value !== 'help');
  assert.equal(parsed.value.cgroup, 'auto');
});

test('help wins over everything, and names every flag', () => {
  assert.deepEqual(parseOptions(['--help']), { ok: true, value: 'help' });
  for (const [, flag = ''] of USAGE.matchAll(/^ {2}(--[a-z-]+)/gm)) {
    const parsed = parseOptions([flag]);
    assert.ok(!parsed.ok && !/[Uu]nknown/.test(parsed.error.message), `${flag} is known`);
  }
});
