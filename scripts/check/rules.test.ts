import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkEffects, checkEnvironment } from './effects.ts';
import { checkLength, checkReasons, checkUnfinished, checkVersions } from './habits.ts';
import { checkRooms } from './rooms.ts';

const file = (path: string, text: string) => ({ path, text });

test('a room that imports another against the rules is found, with the reason', () => {
  const found = checkRooms([
    file('model/a.ts', "\nimport { x } from '../proxy/stage.ts';\nexport const y = x;\n"),
  ]);
  assert.equal(found.length, 1);
  assert.equal(found[0]?.line, 2);
  assert.match(found[0]?.message ?? '', /model\/ may not import proxy\/.*decisions are pure/);
});

test('the model uses no package that could reach the world, and the demo nothing of Heddle', () => {
  for (const target of ['node:fs', 'node:net', '@grpc/grpc-js'])
    assert.match(
      checkRooms([file('model/a.ts', `import x from '${target}';`)])[0]?.message ?? '',
      /decisions are pure/,
    );
  assert.deepEqual(checkRooms([file('model/a.ts', "import { RE2JS } from 're2js';")]), []);
  const demo = file('demo/shop/apps/a.mjs', "import { x } from '../../../model/decide.ts';");
  assert.match(checkRooms([demo])[0]?.message ?? '', /know nothing of the mesh/);
});

test('the Kubernetes client is loaded by its own folder and by tests', () => {
  const text = "export const load = () => import('@kubernetes/client-node/dist/config.js');";
  for (const path of ['cli/a.ts', 'proxy/a.ts', 'sources/files/a.ts', 'control-plane/a.ts'])
    assert.match(checkRooms([file(path, text)])[0]?.message ?? '', /only sources\/kubernetes\/ may import/);
  for (const path of ['sources/kubernetes/a.ts', 'cli/a.test.ts', 'test/support/a.ts'])
    assert.deepEqual(checkRooms([file(path, text)]), []);
});

test('re-exports and dynamic imports count as imports', () => {
  const found = checkRooms([
    file('proxy/a.ts', "export { x } from '../control-plane/main.ts';"),
    file('proxy/b.ts', "export const load = () => import('../sources/files/watch.ts');"),
  ]);
  assert.deepEqual(
    found.map((one) => one.path),
    ['proxy/a.ts', 'proxy/b.ts'],
  );
});

test('production code that imports test/ is found, and a test beside it may', () => {
  const text = "import { leakCheck } from '../test/support/leak-check.ts';\nleakCheck();";
  assert.equal(checkRooms([file('proxy/a.ts', text)]).length, 1);
  assert.equal(checkRooms([file('proxy/a.test.ts', text)]).length, 0);
});

test('permitted imports pass', () => {
  assert.deepEqual(
    checkRooms([file('proxy/a.ts', "import { x } from '../model/mesh.ts';\nimport y from './b.ts';")]),
    [],
  );
});

test('where a folder of a room is permitted, the rest of the room is not', () => {
  assert.deepEqual(checkRooms([file('cli/a.ts', "import { x } from '../injector/patch/inject.ts';")]), []);
  const rest = file('cli/a.ts', "import { x } from '../injector/start.ts';");
  assert.match(checkRooms([rest])[0]?.message ?? '', /cli\/ may not import injector\//);
});

test('a real clock, timer, random number or dial outside common/ is found', () => {
  const lines = [
    'Date.now()',
    'new Date()',
    'performance.now()',
    'setTimeout(f, 1)',
    'Math.random()',
    'net.connect(1)',
    'Date()',
    "Date['now']()",
    'process.hrtime()',
    'globalThis.setTimeout(f)',
    "fetch('http://x')",
  ];
  for (const line of lines) assert.equal(checkEffects([file('proxy/a.ts', `f(${line});`)]).length, 1, line);
  for (const text of ["import { connect } from 'node:net';", 'const { now } = Date;'])
    assert.equal(checkEffects([file('proxy/a.ts', text)]).length, 1, text);
  assert.deepEqual(checkEffects([file('common/clock.ts', 'Date.now()')]), []);
  assert.deepEqual(
    checkEffects([file('proxy/a.ts', '// Date.now() is banned here\nclock.after(1, f);')]),
    [],
  );
});

test('the environment read outside a main file is found', () => {
  assert.equal(checkEnvironment([file('proxy/a.ts', 'const x = process.env.HOME;')]).length, 1);
  assert.equal(checkEnvironment([file('proxy/main.ts', 'const x = process.env.HOME;')]).length, 0);
});

test('long files and unfinished words are found', () => {
  assert.equal(checkLength([file('proxy/a.ts', '\n'.repeat(401))]).length, 1);
  assert.equal(checkLength([file('proxy/a.ts', '\n'.repeat(400))]).length, 0);
  assert.equal(checkUnfinished([file('proxy/a.ts', `// ${'TO'}${'DO'}: later`)]).length, 1);
});

test('a version range in package.json is found, and a dependency nobody gave a reason for', () => {
  const text = JSON.stringify({ dependencies: { a: '1.2.3', b: '^1.2.3' } });
  assert.equal(checkVersions(text).length, 1);
  assert.deepEqual(
    checkReasons(text, 'uses `a` for this').map((one) => one.message),
    ['says nothing about the dependency b'],
  );
});
