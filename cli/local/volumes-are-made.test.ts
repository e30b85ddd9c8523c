import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import { podSpecOf } from './pod-spec.ts';
import { materialiseVolumes, mountsOf, podField, type VolumeSources } from './volumes.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-volumes-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const pod = {
  metadata: { name: 'web-1', namespace: 'shop', uid: 'u', labels: { app: 'web' }, annotations: {} },
  spec: { nodeName: 'node-1', serviceAccountName: 'web' },
};
const sources: VolumeSources = {
  configMap: (name) => (name === 'settings' ? { 'app.yaml': 'colour: green', extra: 'x' } : undefined),
  token: (audience) => `token for ${audience}`,
  field: (path) => podField(pod, path, { ips: ['127.244.0.1'], hostIp: '127.0.0.1' }),
  rootFile: '/state/root.pem',
};
const made = (...volumes: JsonValue[]) => materialiseVolumes(directory, volumes, sources);
const text = (...path: string[]) => readFileSync(join(directory, 'volumes', ...path), 'utf8');
const refused = (volume: JsonValue, message: RegExp) => {
  assert.throws(
    () => made(volume),
    (thrown: Error) => 'code' in thrown && thrown.code === 'volume' && message.test(thrown.message),
  );
};

test('a ConfigMap is a file a key, or those that are picked under their paths', () => {
  made(
    { name: 'all', configMap: { name: 'settings' } },
    { name: 'some', configMap: { name: 'settings', items: [{ key: 'extra', path: 'deep/er' }] } },
  );
  assert.equal(text('all', 'app.yaml'), 'colour: green');
  assert.equal(text('all', 'extra'), 'x');
  assert.equal(text('some', 'deep', 'er'), 'x');
  assert.deepEqual(readdirSync(join(directory, 'volumes', 'some')), ['deep']);
});

test('an emptyDir is an empty folder', () => {
  made({ name: 'scratch', emptyDir: {} });
  assert.deepEqual(readdirSync(join(directory, 'volumes', 'scratch')), []);
});

test('projected tokens, ConfigMaps and fields stand in one folder, and tokens are to be renewed', () => {
  const { tokens } = made({
    name: 'identity',
    projected: {
      sources: [
        { serviceAccountToken: { path: 'token', audience: 'heddle-ca' } },
        { configMap: { name: 'settings', items: [{ key: 'extra', path: 'extra' }] } },
        {
          downwardAPI: { items: [{ path: 'labels-app', fieldRef: { fieldPath: "metadata.labels['app']" } }] },
        },
      ],
    },
  });
  assert.equal(text('identity', 'token'), 'token for heddle-ca');
  assert.equal(text('identity', 'extra'), 'x');
  assert.equal(text('identity', 'labels-app'), 'web');
  assert.deepEqual(tokens, [
    { path: join(directory, 'volumes', 'identity', 'token'), audience: 'heddle-ca' },
  ]);
});

test("the trust bundle is a link to the control plane's file, so that it follows a rotation", () => {
  made({ name: 'trust', configMap: { name: 'heddle-trust-bundle' } });
  assert.equal(readlinkSync(join(directory, 'volumes', 'trust', 'root.pem')), '/state/root.pem');
});

test('fields of the pod are given by their paths', () => {
  const field = (path: string) =>
    podField(pod, path, { ips: ['127.244.0.1', 'fd00::1'], hostIp: '127.0.0.1' });
  assert.equal(field('metadata.name'), 'web-1');
  assert.equal(field('metadata.namespace'), 'shop');
  assert.equal(field('status.podIP'), '127.244.0.1');
  assert.equal(field('status.podIPs'), '127.244.0.1,fd00::1');
  assert.equal(field('spec.serviceAccountName'), 'web');
  assert.equal(field("metadata.labels['absent']"), '');
  assert.equal(field('spec.containers'), undefined);
});

test('what is missing or of another kind is refused by name', () => {
  refused({ name: 'v', configMap: { name: 'nope' } }, /ConfigMap "nope" doesn't exist/);
  refused({ name: 'v', configMap: { name: 'settings', items: [{ key: 'k', path: 'p' }] } }, /no key "k"/);
  refused({ name: 'v', hostPath: { path: '/' } }, /volume "v" is of a kind/);
  refused({ name: 'v', projected: { sources: [{ secret: { name: 's' } }] } }, /projects a source/);
  refused(
    { name: 'v', downwardAPI: { items: [{ path: 'p', fieldRef: { fieldPath: 'spec.x' } }] } },
    /can't be given/,
  );
  assert.doesNotThrow(() => made({ name: 'v', configMap: { name: 'nope', optional: true } }));
});

test('no path leads out of a volume', () => {
  for (const path of ['../x', '/etc/x', 'a/../../x', ''])
    refused(
      { name: 'v', configMap: { name: 'settings', items: [{ key: 'extra', path }] } },
      /not a path inside a volume/,
    );
});

test('mounts lead to the folders, a subPath inside one, and an unknown volume is refused', () => {
  const container = (mounts: JsonValue) => {
    const [spec] = podSpecOf({
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } },
      spec: { containers: [{ name: 'c', volumeMounts: mounts }] },
    }).containers;
    return spec ?? assert.fail();
  };
  const directories = new Map([['a', '/state/a']]);
  assert.deepEqual(
    [
      ...mountsOf(
        container([
          { name: 'a', mountPath: '/x/' },
          { name: 'a', mountPath: '/y', subPath: 'f' },
        ]),
        directories,
      ),
    ],
    [
      ['/x', '/state/a'],
      ['/y', '/state/a/f'],
    ],
  );
  assert.throws(
    () => mountsOf(container([{ name: 'b', mountPath: '/x' }]), directories),
    /unknown volume "b"/,
  );
});
