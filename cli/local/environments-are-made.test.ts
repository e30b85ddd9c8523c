import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import { commandLineOf, type EnvironmentInput, environmentOf } from './environment.ts';
import { expandVariables, rewriteMountPath } from './expansion.ts';
import { podSpecOf } from './pod-spec.ts';

test('$(NAME) is expanded, $$ is a dollar, and what is unknown stays', () => {
  const env = { PORT: '8080', A: 'x', 'a.b-c': 'dotted' };
  assert.equal(expandVariables('--port=$(PORT)', env), '--port=8080');
  assert.equal(expandVariables('$(A)$(A)/$(a.b-c)', env), 'xx/dotted');
  assert.equal(expandVariables('$$(PORT)', env), '$(PORT)');
  assert.equal(expandVariables('$$$(PORT)', env), '$8080');
  assert.equal(expandVariables('$(NOPE) $PORT', env), '$(NOPE) $PORT');
  assert.equal(expandVariables('$(constructor)', env), '$(constructor)');
});

test('a mount path is replaced by its folder, the longest first, by whole elements', () => {
  const mounts = new Map([
    ['/config', '/state/a'],
    ['/config/tls', '/state/b'],
  ]);
  assert.equal(rewriteMountPath('/config/app.yaml', mounts), '/state/a/app.yaml');
  assert.equal(rewriteMountPath('/config/tls/key', mounts), '/state/b/key');
  assert.equal(rewriteMountPath('/config', mounts), '/state/a');
  assert.equal(rewriteMountPath('/configuration', mounts), '/configuration');
  assert.equal(rewriteMountPath('--file=/config', mounts), '--file=/config');
});

function input(container: JsonValue, part: Partial<EnvironmentInput> = {}): EnvironmentInput {
  const [spec] = podSpecOf({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } },
    spec: { containers: [container] },
  }).containers;
  assert.ok(spec !== undefined);
  const maps: Record<string, Record<string, string>> = { settings: { COLOUR: 'green', SIZE: '4' } };
  return {
    ...{ container: spec, machine: { PATH: '/bin' }, network: { PORT: '20001', HOST: '127.0.0.1' } },
    ...{ forced: {}, mounts: new Map() },
    sources: {
      configMap: (name) => maps[name],
      field: (path) => (path === 'metadata.name' ? 'web-1' : undefined),
    },
    ...part,
  };
}

test('values come from the machine, the network, ConfigMaps, fields and earlier values, later ones winning', () => {
  const env = environmentOf(
    input({
      envFrom: [{ configMapRef: { name: 'settings' } }],
      env: [
        { name: 'COLOUR', value: 'blue' },
        { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'SIZE_TOO', valueFrom: { configMapKeyRef: { name: 'settings', key: 'SIZE' } } },
        { name: 'URL', value: 'http://$(HOST):$(PORT)/$(NAME)/$(LATER)' },
        { name: 'LATER', value: 'x' },
      ],
    }),
  );
  assert.deepEqual(env, {
    ...{ PATH: '/bin', PORT: '20001', HOST: '127.0.0.1', COLOUR: 'blue', SIZE: '4' },
    ...{ NAME: 'web-1', SIZE_TOO: '4', URL: 'http://127.0.0.1:20001/web-1/$(LATER)', LATER: 'x' },
  });
});

test('what the runner insists on wins over the manifest', () => {
  const env = environmentOf(input({ env: [{ name: 'PORT', value: '1' }] }, { forced: { PORT: '2' } }));
  assert.equal(env.PORT, '2');
});

test('a prefix is put before the keys of a whole ConfigMap', () => {
  const env = environmentOf(input({ envFrom: [{ prefix: 'APP_', configMapRef: { name: 'settings' } }] }));
  assert.equal(env.APP_COLOUR, 'green');
  assert.equal(env.COLOUR, undefined);
});

test('missing ConfigMaps and keys are refused unless optional', () => {
  const refused = (container: JsonValue) => {
    assert.throws(() => environmentOf(input(container)), { code: 'container-config' });
  };
  refused({ envFrom: [{ configMapRef: { name: 'nope' } }] });
  refused({ env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'nope' } } }] });
  refused({ env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.nope' } } }] });
  refused({ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] });
  refused({ envFrom: [{ secretRef: { name: 's' } }] });
  const optional = environmentOf(
    input({
      envFrom: [{ configMapRef: { name: 'nope', optional: true } }],
      env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'nope', key: 'k', optional: true } } }],
    }),
  );
  assert.equal('A' in optional, false);
});

test('a command is its words, expanded, with mount paths rewritten', () => {
  const line = commandLineOf(
    input(
      { command: ['node', '/app/main.mjs'], args: ['--port', '$(PORT)', '--file', '/config/a'] },
      { mounts: new Map([['/config', '/state/v']]) },
    ),
  );
  assert.equal(line.command, 'node');
  assert.deepEqual(line.args, ['/app/main.mjs', '--port', '20001', '--file', '/state/v/a']);
});

test('a container without a command can only be refused: no image is pulled', () => {
  assert.throws(() => commandLineOf(input({ name: 'app', args: ['x'] })), /container app has no command/);
});
