import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import type { AgentStatus } from '../../common/pod-network.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { AgentAnswer } from '../client/agents.ts';
import { checkAgents } from './agents.ts';
import type { Facts, Finding } from './findings.ts';
import { checkCommands, checkMachine } from './machine.ts';
import { checkObjects } from './objects.ts';
import { checkInjection, checkPods } from './pods.ts';
import { checkServices } from './services.ts';
import { checkRoot, checkSidecars } from './sidecars.ts';

const NOW_MS = Date.UTC(2026, 0, 2);
const CREATED = '2026-01-01T00:00:00Z';

interface PodPart {
  readonly ready?: boolean;
  readonly meshed?: boolean;
  readonly labels?: Record<string, string>;
  readonly status?: Record<string, JsonValue>;
  readonly ports?: JsonValue;
  readonly metadata?: Record<string, JsonValue>;
}
function pod(name: string, part: PodPart = {}): KubeObject {
  const { ready = true, meshed = true, labels = { app: 'web' }, status = {}, metadata = {} } = part;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...{ name, namespace: 'shop', labels, creationTimestamp: CREATED },
      annotations: meshed ? { 'heddle.dev/injected': 'default' } : {},
      ...metadata,
    },
    spec: { containers: [{ name: 'app', ports: part.ports ?? [{ name: 'http', containerPort: 8080 }] }] },
    status: {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      ...status,
    },
  };
}
const object = (
  kind: string,
  name: string,
  spec: JsonValue,
  more: Record<string, JsonValue> = {},
): KubeObject => ({
  ...{ apiVersion: 'v1', kind, metadata: { name, namespace: 'shop' }, spec },
  ...more,
});
const namespace = (labels: Record<string, string>): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels } },
});
const INJECTED = namespace({ 'heddle.dev/inject': 'enabled' });

const facts = (objects: readonly KubeObject[], part: Partial<Facts> = {}): Facts => ({
  ...{
    nowMs: NOW_MS,
    objects,
    problems: [],
    sidecars: [],
    agents: [],
    network: 'loopback' as const,
    answers: new Map(),
    origins: new Map(),
    leafTtlSeconds: 86_400,
  },
  ...part,
});
const bad = (findings: readonly Finding[]) =>
  findings.filter((one) => one.level === 'problem' || one.level === 'warning');
const only = (findings: readonly Finding[]): Finding => {
  const [first, ...others] = bad(findings);
  assert.equal(others.length, 0, JSON.stringify(others));
  return first ?? assert.fail('nothing was found');
};

test('a pod that keeps crashing is a problem with its reason, its restarts and where to look', () => {
  const status = {
    ...{ reason: 'CrashLoopBackOff', message: 'container app ended with exit code 1' },
    containerStatuses: [{ name: 'app', restartCount: 3, state: { waiting: { reason: 'CrashLoopBackOff' } } }],
  };
  const finding = only(checkPods(facts([pod('web-1', { ready: false, status })])));
  assert.equal(finding.message, 'CrashLoopBackOff: container app ended with exit code 1, 3 restarts');
  assert.equal(finding.remedy, 'heddle logs web-1 -n shop --previous');
});

test('a young pod without a reason is only starting, and finished or leaving ones are fine', () => {
  const young = pod('web-1', { ready: false, metadata: { creationTimestamp: '2026-01-01T23:59:58Z' } });
  assert.equal(checkPods(facts([young]))[0]?.level, 'note');
  const done = pod('job-1', { ready: false, status: { phase: 'Succeeded' } });
  const leaving = pod('web-2', { ready: false, metadata: { deletionTimestamp: CREATED } });
  assert.deepEqual(bad(checkPods(facts([done, leaving]))), []);
});

test('a Deployment that can not make its pods says why', () => {
  const status = {
    conditions: [{ type: 'Available', status: 'False', reason: 'FailedCreate', message: 'no account' }],
  };
  assert.match(
    only(checkPods(facts([object('Deployment', 'web', {}, { status })]))).message,
    /created: no account/,
  );
});

test('a pod of a labelled namespace without a sidecar is a problem; one that opts out is a note', () => {
  const finding = only(checkInjection(facts([INJECTED, pod('web-1', { meshed: false })])));
  assert.match(finding.message, /before its namespace or template was labelled/);
  assert.match(finding.remedy ?? '', /change the pod template/);
  const out = pod('web-2', { meshed: false, labels: { 'heddle.dev/inject': 'disabled' } });
  assert.deepEqual(
    checkInjection(facts([INJECTED, out])).map((one) => one.level),
    ['note'],
  );
  assert.deepEqual(checkInjection(facts([namespace({}), pod('web-3', { meshed: false })])), []);
});

const connected = { pod: 'shop/web-1', pending: 0, nack: undefined };
const sidecar = (part: Partial<Facts>) => checkSidecars(facts([pod('web-1')], part));

test('a sidecar that is not connected, refused something or is behind is told', () => {
  assert.match(only(sidecar({})).message, /not connected to the control plane/);
  const refused = sidecar({ sidecars: [{ ...connected, nack: 'Cluster x: lb_policy' }] });
  assert.match(only(refused).message, /refused configuration and keeps what it had: Cluster x: lb_policy/);
  assert.equal(only(sidecar({ sidecars: [{ ...connected, pending: 2 }] })).level, 'warning');
  assert.equal(sidecar({ sidecars: [connected] })[0]?.level, 'good');
});

const shortLived = (certificateSeconds: number): Partial<Facts> => ({
  sidecars: [connected],
  leafTtlSeconds: 60,
  answers: new Map([['shop/web-1', { certificateSeconds, error: undefined }]]),
});

test("a sidecar's certificate that expires or has expired is a problem, and silence is one", () => {
  const answered = (certificateSeconds: number | undefined, error?: string) =>
    sidecar({ sidecars: [connected], answers: new Map([['shop/web-1', { certificateSeconds, error }]]) });
  assert.match(only(answered(60)).message, /expires in 1m and was not renewed/);
  // Of a life of a minute, half a minute is no sign of anything.
  assert.deepEqual(bad(sidecar({ ...shortLived(30) })), []);
  assert.match(only(sidecar({ ...shortLived(10) })).message, /expires in 10s and was not renewed/);
  assert.match(only(answered(-1)).message, /has expired/);
  assert.match(only(answered(undefined, 'connect ECONNREFUSED')).message, /doesn't answer: connect/);
  assert.deepEqual(bad(answered(80_000)), []);
});

test('the root is good, soon over, over or missing', () => {
  const level = (days: number) => checkRoot({ notAfterMs: NOW_MS + days * 86_400_000 }, NOW_MS).level;
  assert.deepEqual(
    [level(3_650), level(29), level(-1), checkRoot(undefined, NOW_MS).level],
    [...['good', 'warning', 'problem', 'problem']],
  );
});

const service = (spec: Record<string, JsonValue>, status: JsonValue = {}) =>
  object(
    'Service',
    'web',
    { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 'http' }], ...spec },
    { status },
  );
const services = (...objects: KubeObject[]) => checkServices(facts(objects));

test('a Service whose selector selects nothing names the pod that one label keeps out', () => {
  const finding = only(services(service({ selector: { app: 'web', tier: 'x' } }), pod('web-1')));
  assert.match(finding.message, /its selector app=web,tier=x selects no pod; pod web-1 has no tier/);
});

test('a target port that no container has is told with those there are', () => {
  const ports = [{ port: 80, targetPort: 'grpc' }];
  assert.match(
    only(services(service({ ports }), pod('web-1'))).message,
    /targetPort grpc of port 80 is no containerPort of pod shop\/web-1, which has 8080 \(http\)/,
  );
  assert.deepEqual(bad(services(service({ ports: [{ port: 8080 }] }), pod('web-1'))), []);
  assert.match(only(services(service({ ports: [{ port: 81 }] }), pod('web-1'))).message, /targetPort 81/);
});

test('with the pod network a number that no container names is a port all the same', () => {
  const world = (port: object) =>
    facts([service({ ports: [port] as never }), pod('web-1')], { network: 'ebpf' });
  assert.deepEqual(bad(checkServices(world({ port: 81 }))), []);
  assert.match(only(checkServices(world({ port: 80, targetPort: 'grpc' }))).message, /targetPort grpc/);
});

test('an agent that does not answer, or can add no pod, is told', () => {
  const agent = (node: string) => ({ node, socket: `/run/${node}` });
  const status = (ready: boolean) => ({ node: 'n2', ready, reason: 'no address is left' }) as AgentStatus;
  const check = (...agents: AgentAnswer[]) => checkAgents(facts([], { agents }));
  const well = { agent: agent('n1'), status: status(true) };
  assert.deepEqual(
    check(well).map(({ level, message }) => [level, message]),
    [['good', '1 of 1 agents ready']],
  );
  assert.deepEqual(check(), []);
  assert.match(
    only(check(well, { agent: agent('n2'), status: status(false) })).message,
    /no address is left/,
  );
  const down = only(check(well, { agent: agent('n2'), error: "the agent of n2 doesn't run" }));
  assert.deepEqual([down.about, down.message], ['agent n2', "the agent of n2 doesn't run"]);
});

test('a Service whose pods are all down is told', () => {
  assert.match(
    only(services(service({}), pod('web-1', { ready: false }))).message,
    /none of its 1 pods is ready/,
  );
});

test('a LoadBalancer that could not be published is told', () => {
  const spec = { type: 'LoadBalancer' };
  assert.match(only(services(service(spec), pod('web-1'))).message, /1 of its ports could not be published/);
  const status = { loadBalancer: { ingress: [{ ip: '127.0.0.1', ports: [{ port: 80 }] }] } };
  assert.deepEqual(bad(services(service(spec, status), pod('web-1'))), []);
});

test('Services without a selector and of type ExternalName are nobody to complain about', () => {
  assert.deepEqual(services(service({ selector: {} }), service({ type: 'ExternalName', selector: {} })), []);
});

test('a Deployment that does not select its own pods is told', () => {
  const deployment = (selector: JsonValue) =>
    object('Deployment', 'web', { selector, template: { metadata: { labels: { app: 'web' } } } });
  assert.match(
    only(services(deployment({ matchLabels: { app: 'x' } }))).message,
    /does not match the labels/,
  );
  assert.deepEqual(services(deployment({ matchLabels: { app: 'web' } })), []);
});

test('a policy whose selector selects nothing is a warning', () => {
  const policy = object('MTLSPolicy', 'strict', {
    selector: { matchLabels: { app: 'api' } },
    mode: 'STRICT',
  });
  const finding = only(services(policy, pod('web-1')));
  assert.equal(finding.level, 'warning');
  assert.match(finding.message, /app=api selects no pod; pod web-1 has app=web/);
});

const route = (...conditions: JsonValue[]) =>
  object('HTTPRoute', 'r', {}, { status: { parents: [{ conditions }] } });
const condition = (type: string, status: string): JsonValue => ({
  type,
  status,
  reason: 'Why',
  message: 'because',
});

test('conditions that are false are problems with file and line, unknown ones warnings', () => {
  const origins = new Map([['HTTPRoute/shop/r', 'routes.yaml:7']]);
  const finding = only(checkObjects(facts([route(condition('Accepted', 'False'))], { origins })));
  assert.equal(finding.where, 'routes.yaml:7');
  assert.equal(finding.message, 'Accepted is False (Why): because');
  assert.equal(only(checkObjects(facts([route(condition('Programmed', 'Unknown'))]))).level, 'warning');
  assert.equal(only(checkObjects(facts([route()]))).level, 'warning');
  assert.deepEqual(bad(checkObjects(facts([route(condition('Accepted', 'True'))]))), []);
});

test('a problem of the very line takes the place of the condition of the same object', () => {
  const problems = [
    {
      severity: 'error' as const,
      source: 'routes.yaml',
      line: 9,
      object: 'HTTPRoute shop/r',
      message: 'spec.x is wrong',
    },
  ];
  const finding = only(checkObjects(facts([route(condition('Accepted', 'False'))], { problems })));
  assert.equal(finding.where, 'routes.yaml:9');
  assert.equal(finding.namespace, 'shop');
});

test('programs that containers need and this machine lacks are told', () => {
  const machine = {
    nodeVersion: '26.1.0',
    pinnedVersion: '26.10.0',
    path: '/bin:/usr/bin',
    canRun: (file: string) => !file.endsWith('python9'),
  };
  const deployment = (command: string) =>
    object('Deployment', 'web', { template: { spec: { containers: [{ name: 'a', command: [command] }] } } });
  assert.match(only(checkCommands([deployment('python9')], machine)).message, /runs "python9"/);
  assert.deepEqual(
    checkCommands([deployment('node'), deployment('./run.sh'), deployment('$(X)')], machine),
    [],
  );
  assert.deepEqual(bad(checkMachine(machine)), []);
  assert.match(
    only(checkMachine({ ...machine, nodeVersion: '20.0.0' })).message,
    /this is 20\.0\.0, and Heddle is made for 26/,
  );
  assert.match(
    only(checkMachine({ ...machine, canRun: () => false })).message,
    /sh, sed, cut, cat, rm not found/,
  );
});
