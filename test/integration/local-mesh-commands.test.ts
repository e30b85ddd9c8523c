import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePort } from '../../cli/local/free-port.ts';
import { systemRandom } from '../../common/random.ts';
import { leakCheck } from '../support/leak-check.ts';
import { appYaml, namespaceYaml } from './local-mesh/manifests.ts';
import { isReady, LocalMesh } from './local-mesh/run.ts';

leakCheck();

let mesh: LocalMesh;
let port: number;
before(async () => {
  mesh = new LocalMesh();
  port = await freePort(systemRandom);
  mesh.write('a-namespaces.yaml', namespaceYaml('lab', true) + namespaceYaml('plain', false));
  mesh.write(
    'settings.yaml',
    'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: lab}\ndata: {colour: green, app.txt: from a file}\n',
  );
  const container = `        - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
        - {name: SETTINGS_FILE, value: /etc/app/app.txt}
        volumeMounts: [{name: settings, mountPath: /etc/app}]
`;
  const volumes = '      volumes: [{name: settings, configMap: {name: settings}}]\n';
  mesh.write('web.yaml', appYaml({ name: 'web', publishedPort: port, container, volumes }));
  mesh.write('api.yaml', appYaml({ name: 'api' }) + appYaml({ name: 'api-v2', version: 'v2' }));
  mesh.write('tool.yaml', appYaml({ name: 'tool', namespace: 'plain' }));
  await mesh.up();
});
after(() => mesh.close());

const web = async (path = '/') => (await fetch(`http://127.0.0.1:${port}${path}`)).json();
const call = (url: string) => web(`/call?url=${encodeURIComponent(url)}`);
const ROUTE = (value: string, backend = 'api-v2') => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: canary, namespace: lab}
spec:
  parentRefs: [{group: "", kind: Service, name: api}]
  rules:
  - name: beta
    matches: [{headers: [{name: x-user, value: ${value}}]}]
    backendRefs: [{name: ${backend}, port: 8088}]
  - name: rest
    backendRefs: [{name: api, port: 8088}]
`;

test('the mesh says when it is ready, where its Services are published and where the dashboard is', async () => {
  assert.match(mesh.output, new RegExp(`lab/web +http://127\\.0\\.0\\.1:${port}`));
  const { out } = await mesh.heddle('dashboard');
  assert.ok(mesh.output.includes(out.trim()));
  assert.equal((await fetch(`${out.trim()}/api/services`)).status, 200);
  assert.equal(mesh.output.includes('\u001b'), false, 'no colours into a file');
});

test('a LoadBalancer answers on 127.0.0.1, and a ConfigMap reaches the app as variable and as file', async () => {
  const answer = await web();
  assert.deepEqual([answer.version, answer.colour, answer.settings], ['v1', 'green', 'from a file']);
});

test('pods of a labelled namespace have a sidecar, those of another have none', async () => {
  const [meshed] = await mesh.get('pods', 'lab');
  const [plain] = await mesh.get('pods', 'plain');
  assert.ok(meshed !== undefined && plain !== undefined);
  assert.equal(meshed.metadata.annotations?.['heddle.dev/injected'], 'default');
  assert.equal(plain.metadata.annotations?.['heddle.dev/injected'], undefined);
  assert.equal(plain.spec.initContainers, undefined);
  assert.equal((await fetch(`http://${plain.status.podIP}:8080/`)).status, 200);
});

test('check inject says so of each, and why', async () => {
  const meshed = await mesh.heddle('check', 'inject', 'lab');
  assert.equal(meshed.code, 0, meshed.out);
  assert.match(
    meshed.out,
    /^deployment\/web +new pods +by revision default, as the label .* of namespace lab says enabled$/m,
  );
  assert.match(meshed.out, /^pod\/web-\S+ +yes +by revision default$/m);
  const plain = await mesh.heddle('check', 'inject', '-n', 'plain', '-o', 'json');
  assert.equal(plain.code, 0);
  const rows = (JSON.parse(plain.out) as { items: { kind: string; state: string; reason: string }[] }).items;
  assert.deepEqual(
    rows.map(({ kind, state }) => `${kind} ${state}`),
    ['Deployment none', 'Pod none'],
  );
  assert.match(rows[0]?.reason ?? '', /namespace plain has neither the label/);
  assert.equal((await mesh.heddle('check', 'inject', 'nowhere')).code, 1);
  assert.equal((await mesh.heddle('check', 'inject')).code, 2);
  assert.equal((await mesh.heddle('check', 'injct')).code, 2);
});

test('objects are shown as tables, names, YAML and JSON', async () => {
  const table = await mesh.heddle('get', 'pods', '-n', 'lab');
  assert.match(table.out, /^NAME +READY +STATUS +RESTARTS +AGE\n/);
  assert.match(table.out, /^web-\S+ +2\/2 +Running +0 +\d+s$/m);
  assert.match((await mesh.heddle('get', 'pods', '-A')).out, /^plain +tool-\S+ +1\/1 +Running/m);
  assert.match((await mesh.heddle('get', 'svc/web', '-n', 'lab', '-o', 'name')).out, /^service\/web\n$/);
  assert.match((await mesh.heddle('get', 'deploy', 'web', '-n=lab', '-o', 'yaml')).out, /readyReplicas: 1/);
  const described = await mesh.heddle('describe', 'svc', 'web', '-n', 'lab');
  assert.match(
    described.out,
    /Manifest: +manifests\/web\.yaml:2\n[\s\S]*Endpoints: +127\.244\.\d+\.\d+:8080 \(web-/,
  );
  const one = JSON.parse((await mesh.heddle('get', 'deploy', 'web', '-n', 'lab', '-o', 'json')).out);
  assert.equal(one.kind, 'Deployment');
});

test('wrong usage ends with 2, what is not there with 1, help with 0', async () => {
  const unknown = await mesh.heddle('get', 'pdos');
  assert.deepEqual([unknown.code, unknown.out], [2, '']);
  assert.match(unknown.err, /did you mean "pods"/);
  assert.equal((await mesh.heddle('get', 'pods', '--wide')).code, 2);
  const missing = await mesh.heddle('get', 'svc', 'wbe', '-n', 'lab');
  assert.equal(missing.code, 1);
  assert.match(missing.err, /services "wbe" not found in namespace lab \(did you mean "web"\?\)/);
  assert.equal((await mesh.heddle('frobnicate')).code, 2);
  const help = await mesh.heddle('apply', '--help');
  assert.equal(help.code, 0);
  assert.match(help.out, /-f, --filename FILE/);
});

test('a route is applied, explained, changed and deleted', async () => {
  mesh.write('../route.yaml', ROUTE('beta'));
  const created = await mesh.heddle('apply', '-f', 'route.yaml');
  assert.deepEqual([created.code, created.err], [0, '']);
  assert.equal(created.out, 'httproute.gateway.networking.k8s.io/canary created\n');
  assert.match((await mesh.heddle('get', 'httproutes', '-n', 'lab')).out, /^canary +\* +api +True +\d+s$/m);
  const beta = await mesh.heddle('explain', '--from', 'lab/web', 'http://api:8088/x', '-H', 'x-user: beta');
  assert.equal(beta.code, 0, beta.err);
  assert.match(beta.out, /It goes to lab\/api-v2 port 8088/);
  assert.match(beta.out, /chosen +HTTPRoute\/lab\/canary#beta/);
  assert.match(beta.out, /Decided with +the live state of lab\/web-/);
  const plain = await mesh.heddle('explain', '--from', 'lab/web', 'http://api:8088/x', '-o', 'json');
  assert.equal(JSON.parse(plain.out).rule, 'HTTPRoute/lab/canary#rest');
  assert.match((await mesh.heddle('apply', '-f', 'route.yaml')).out, / unchanged\n$/);
  const changed = await mesh.heddleWith(ROUTE('gamma'), 'apply', '-f', '-');
  assert.match(changed.out, / configured\n$/);
  const deleted = await mesh.heddle('delete', '-f', 'route.yaml');
  assert.deepEqual([deleted.code, deleted.out], [0, 'httproute.gateway.networking.k8s.io/canary deleted\n']);
  assert.equal((await mesh.heddle('delete', 'httproute', 'canary', '-n', 'lab')).code, 1);
});

test('what is not accepted ends with 1 and says where and why', async () => {
  const refused = await mesh.heddleWith(ROUTE('beta', 'nowhere'), 'apply', '-f', '-');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /^standard input:1: HTTPRoute canary: ResolvedRefs is False \(BackendNotFound\)/);
  const broken = await mesh.heddleWith('kind: HTTPRoute\nmetadata: [', 'apply', '-f', '-');
  assert.equal(broken.code, 1);
  assert.match(broken.err, /standard input:2: .*\nnothing was applied\n$/);
  const misspelt = await mesh.heddleWith(ROUTE('beta').replace('HTTPRoute', 'HTPRoute'), 'apply', '-f', '-');
  assert.match(misspelt.err, /did you mean "HTTPRoute".*\nnothing was applied\n$/);
  await mesh.heddle('delete', 'httproute', 'canary', '-n', 'lab');
});

test('an object of the manifests is hidden by delete, and comes back with apply', async () => {
  assert.equal((await mesh.heddle('delete', 'svc', 'api-v2', '-n', 'lab')).code, 0);
  assert.equal((await mesh.heddle('get', 'svc', 'api-v2', '-n', 'lab')).code, 1);
  const back = await mesh.heddle('apply', '-f', 'manifests/api.yaml');
  assert.match(back.out, /service\/api-v2 created/);
  assert.equal((await mesh.heddle('get', 'svc', 'api-v2', '-n', 'lab')).code, 0);
});

test('callers, hosts, URLs and headers that are wrong are told by what is wrong', async () => {
  const explain = async (...args: string[]) => {
    const { code, err } = await mesh.heddle('explain', ...args);
    return `${code} ${err}`;
  };
  assert.match(await explain('--from', 'lab/wbe', 'http://api:8088'), /^1 .*did you mean "web"/);
  assert.match(
    await explain('--from', 'lba/web', 'http://api:8088'),
    /^1 .*no namespace "lba" \(did you mean "lab"/,
  );
  assert.match(await explain('--from', 'plain/tool', 'http://api:8088'), /^1 .*has no sidecar/);
  assert.match(await explain('--from', 'lab/web', 'http://apo:8088'), /^1 .*did you mean "api"/);
  assert.match(await explain('--from', 'lab/web', 'http://api'), /^1 .*has no port 80; it has 8088 \(http\)/);
  assert.match(await explain('--from', 'lab/web', 'http://'), /^2 .*not a URL/);
  assert.match(await explain('--from', 'lab/web', 'http://api:8088', '-H', 'nonsense'), /^2 .*NAME: VALUE/);
  assert.match(await explain('http://api:8088'), /^2 .*say who asks/);
  const outside = await mesh.heddle('explain', '--from', 'lab/web', 'http://example.com/');
  assert.match(outside.out, /example\.com is outside the mesh: requests pass through/);
});

test('traces are listed, drawn and explained', async () => {
  assert.equal((await call('http://api:8088/')).status, 200);
  let id = '';
  await mesh.until(
    async () => {
      const { out } = await mesh.heddle('traces', '--service', 'web', '-o', 'json');
      const { items } = JSON.parse(out) as { items: { traceId: string; spans: number }[] };
      id = items.find((item) => item.spans >= 4)?.traceId ?? '';
      return id !== '';
    },
    'a trace through web and api is kept',
    20_000,
  );
  assert.match((await mesh.heddle('traces')).out, /^TRACE +AGE +TOOK/);
  const drawn = await mesh.heddle('traces', id.slice(0, 12));
  assert.equal(drawn.code, 0, drawn.err);
  assert.match(drawn.out, /web +→ GET api +=+ .*200/);
  const explained = await mesh.heddle('explain', '--trace', id);
  assert.equal(explained.code, 0, explained.err);
  assert.match(explained.out, /Recorded when it happened/);
  assert.equal((await mesh.heddle('traces', 'zz')).code, 2);
});

test('output of apps, sidecars and the mesh itself is shown, its end only where asked', async () => {
  const app = await mesh.heddle('logs', 'web', '-n', 'lab');
  assert.match(app.out, /^v1 listens on 127\.0\.0\.1:\d+\n/);
  assert.match(
    (await mesh.heddle('logs', 'deploy/web', '-n', 'lab', '-c', 'heddle-proxy')).out,
    /sidecar ready/,
  );
  const tail = await mesh.heddle('logs', 'control-plane', '-n', 'heddle-system', '--tail', '1');
  assert.equal(tail.out.split('\n').length, 2);
  assert.match((await mesh.heddle('logs', 'web')).err, /namespace lab has one: -n lab/);
  assert.match(
    (await mesh.heddle('logs', 'api', '-n', 'lab', '-c', 'nope')).err,
    /"api" may be|no container "nope"/,
  );
});

test('a healthy mesh has nothing to complain about', async () => {
  const { code, out } = await mesh.heddle('check');
  assert.equal(code, 0, out);
  assert.match(out, /good +sidecars: \d+ connected/);
  assert.match(out, /good +root certificate: valid until/);
  assert.match(out, /\n0 problems, 0 warnings\n$/);
});

test('a broken manifest leaves the rest in force and is reported with file and line, until it is mended', async () => {
  mesh.write('broken.yaml', `${ROUTE('beta')}---\nkind: Service\nmetadata: {name: x\n`);
  await mesh.says(/manifests\/broken\.yaml:1[2-9]: /, 20_000);
  assert.equal((await web()).version, 'v1');
  await mesh.until(
    async () => (await mesh.heddle('get', 'httproute', 'canary', '-n', 'lab')).code === 0,
    'the sound document of the file is in force',
    20_000,
  );
  const { code, out } = await mesh.heddle('check', '-o', 'json');
  assert.equal(code, 1);
  const { items } = JSON.parse(out) as { items: { level: string; where?: string }[] };
  assert.ok(items.some((item) => item.level === 'problem' && /broken\.yaml:1[2-9]$/.test(item.where ?? '')));
  mesh.remove('broken.yaml');
  await mesh.until(async () => (await mesh.heddle('check')).code === 0, 'the mesh is healthy again', 20_000);
});

test('a Deployment that is edited live is scaled, and a second replica on a fixed port is refused', async () => {
  mesh.write('api.yaml', appYaml({ name: 'api', replicas: 2 }) + appYaml({ name: 'api-v2', version: 'v2' }));
  const ready = async (name: string) =>
    (await mesh.get('pods', 'lab')).filter((pod) => pod.metadata.name.startsWith(`${name}-`) && isReady(pod))
      .length;
  await mesh.until(async () => (await ready('api')) === 3, 'two pods of api and one of api-v2 are ready');
  assert.match(mesh.output, /~ changed: Deployment lab\/api\n/);
  const fixed = await freePort(systemRandom);
  const container = `        - {name: PORT, value: "${fixed}"}\n`;
  mesh.write('fixed.yaml', appYaml({ name: 'fixed', replicas: 2, container }));
  await mesh.says(
    /lab\/fixed: pod fixed-\S+: lab\/fixed-\S+ fixes its port at \d+, which lab\/fixed-\S+ has/,
  );
  assert.match((await mesh.heddle('get', 'pods', '-n', 'lab')).out, /^fixed-\S+ +0\/2 +PortConflict/m);
  mesh.remove('fixed.yaml');
});

test('a container that keeps ending is reported with its reason, and its last output can be read', async () => {
  const container = '        - {name: NODE_OPTIONS, value: "--no-such-option"}\n';
  mesh.write('crash.yaml', appYaml({ name: 'crash', container }));
  await mesh.says(/lab\/crash: pod crash-\S+: container app ended with exit code 9/);
  assert.match(
    (await mesh.heddle('get', 'pods', '-n', 'lab')).out,
    /^crash-\S+ +1\/2 +CrashLoopBackOff +[1-9]/m,
  );
  const { code, out } = await mesh.heddle('check', '-n', 'lab');
  assert.equal(code, 1);
  assert.match(
    out,
    /problem pod lab\/crash-\S+: CrashLoopBackOff: container app ended with exit code 9.*\n +→ heddle logs crash-\S+ -n lab --previous/,
  );
  assert.match((await mesh.heddle('logs', 'crash', '-n', 'lab', '--previous')).out, /no-such-option/);
  mesh.remove('crash.yaml');
});

test('the control plane, killed, comes back where it was', async () => {
  const children = (await import('node:fs')).readFileSync(`${mesh.state}/children`, 'utf8');
  const pid = Number(/^(\d+) \d+ control-plane$/m.exec(children)?.[1]);
  process.kill(pid, 'SIGKILL');
  await mesh.says(/control-plane ended \(SIGKILL\); it is started again/, 20_000);
  assert.equal((await web()).version, 'v1', 'the data path goes on without it');
  await mesh.until(async () => (await mesh.heddle('check')).code === 0, 'the sidecars are connected again');
});
