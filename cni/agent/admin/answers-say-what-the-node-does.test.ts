import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { addressBytes } from '../../../common/address.ts';
import { AgentWorld, dropBytes } from '../../../test/support/agent-world.ts';
import { leakCheck } from '../../../test/support/leak-check.ts';
import { networkPolicy } from '../../../test/support/policy-objects.ts';
import { VirtualClock } from '../../../test/support/virtual-clock.ts';
import { keyText } from '../../maps/entries.ts';
import { captureOf, endpointsOf, servicesOf, statusOf } from './answers.ts';
import { policiesOf } from './policy.ts';
import { verdictOf } from './verdict.ts';

leakCheck();

const POLICIES = [
  networkPolicy('deny-all', { podSelector: {}, policyTypes: ['Ingress'] }),
  networkPolicy('db', {
    podSelector: { matchLabels: { app: 'db' } },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [
      {
        from: [
          { podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'far'] }] } },
          { namespaceSelector: {} },
          { ipBlock: { cidr: '192.0.2.0/24', except: ['192.0.2.128/25'] } },
        ],
        ports: [{ port: 8080 }, { port: 9000, endPort: 9010, protocol: 'UDP' }, { protocol: 'SCTP' }],
      },
    ],
    egress: [
      { to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } }] },
    ],
  }),
];

let world: AgentWorld;
let clock: VirtualClock;
beforeEach(() => {
  clock = new VirtualClock();
  world = new AgentWorld(clock, POLICIES);
});

test('the status counts pods, sidecars, objects and drops', () => {
  world.drops.take(dropBytes(clock));
  const status = statusOf(world, false);
  assert.deepEqual(status.pods, { attached: 2, captured: 1, confirmed: 1 });
  assert.deepEqual(status.known, { nodes: 2, pods: 3, policies: 2, services: 1 });
  assert.deepEqual(status.drops, { packets: 1, records: 1, unlisted: 0, lost: undefined });
  assert.deepEqual([status.node, status.problems, status.maps], ['n1', [], undefined]);
});

test('a policy that can not be used is named in the status', () => {
  const broken = networkPolicy('broken', {
    podSelector: {},
    ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }],
  });
  const [problem] = statusOf(new AgentWorld(clock, [broken]), false).problems;
  assert.deepEqual(
    [problem?.severity, problem?.object, problem?.field],
    ['error', 'NetworkPolicy shop/broken', 'spec.ingress[0].from[0].ipBlock.cidr'],
  );
});

test('a rule of which no peer can be used is not told as one that allows anybody', () => {
  const broken = networkPolicy('broken', {
    podSelector: {},
    ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }, { from: [] }],
  });
  const [pod] = policiesOf(new AgentWorld(clock, [broken]));
  assert.deepEqual(
    pod?.ingress.rules.map(({ index, peers }) => [index, peers]),
    [
      [0, ['none']],
      [1, []],
    ],
  );
});

test('every address is told with its owner and where it leads', () => {
  const rows = endpointsOf(world, false).map(({ ip, kind, name, via, local, meshed, device }) =>
    [ip, kind, name, via, local ? 'here' : '', meshed ? 'meshed' : '', device]
      .filter((one) => one !== '')
      .join(' '),
  );
  assert.deepEqual(rows.toSorted(), [
    '10.244.1.5 pod shop/web here meshed hdl3',
    '10.244.1.6 pod shop/db here hdl4',
    '10.244.2.7 pod shop/far 172.31.0.12',
    '10.96.0.10 dns',
    '172.31.0.1 control-plane',
    '172.31.0.11 node n1',
    '172.31.0.12 node n2 172.31.0.12',
  ]);
});

test("what the kernel's maps lack, hold otherwise or hold without need is told entry by entry and in numbers", () => {
  const { endpoint, service } = world.maps;
  endpoint.delete(addressBytes('10.244.2.7'));
  const changed = Buffer.from(endpoint.content.get(keyText(addressBytes('10.244.1.6'))) ?? '');
  changed[20] = 0xff;
  endpoint.updateBatch([[addressBytes('10.244.1.6'), changed]]);
  endpoint.updateBatch([[addressBytes('1.2.3.4'), changed]]);
  const states = Object.fromEntries(endpointsOf(world, true).map(({ ip, kernel }) => [ip, kernel]));
  assert.deepEqual(
    [states['10.244.2.7'], states['10.244.1.6'], states['1.2.3.4'], states['10.244.1.5']],
    ['missing', 'differs', 'stale', 'same'],
  );
  const maps = statusOf(world, true).maps ?? [];
  const { wanted, held, missing, differing, stale } =
    maps.find(({ map }) => map === 'endpoint_map') ?? assert.fail();
  assert.deepEqual([wanted, held, missing, differing, stale], [7, 7, 1, 1, 1]);
  assert.ok(maps.every((map) => map.map === 'endpoint_map' || map.missing + map.differing + map.stale === 0));
  const [first] = [...service.content.keys()];
  service.content.delete(first ?? '');
  assert.ok(servicesOf(world, true).some(({ kernel }) => kernel === 'missing'));
});

test('Services are told by address, port and the pods behind them', () => {
  const rows = servicesOf(world, false).map(
    ({ owner, kind, ip, port, protocol, scope, backends }) =>
      `${owner} ${kind} ${ip}:${port}/${protocol} ${scope} ${backends.join(',')}`,
  );
  assert.ok(rows.includes('Service shop/web cluster-ip 10.96.1.1:80/TCP internal 10.244.1.5:8080'));
  assert.ok(rows.includes('Service shop/web node-port 0.0.0.0:30080/TCP external 10.244.1.5:8080'));
});

test('capture is told pod by pod', () => {
  assert.deepEqual(
    captureOf(world).map(({ pod, captured, sidecarCgroup }) => [pod, captured, sidecarCgroup]),
    [
      ['shop/web', true, '1234'],
      ['shop/db', false, ''],
    ],
  );
});

test('policies are told in the words of their manifests', () => {
  const [db, web] = policiesOf(world);
  assert.deepEqual(db?.ingress.policies, ['shop/db', 'shop/deny-all']);
  assert.deepEqual(db?.ingress.rules, [
    {
      ...{ policy: 'shop/db', index: 0, ports: ['TCP/8080', 'UDP/9000-9010', 'SCTP'] },
      peers: [
        'pods app in (web, far) in shop',
        'all pods in all namespaces',
        '192.0.2.0/24 except 192.0.2.128/25',
      ],
    },
  ]);
  assert.deepEqual(db?.egress.rules[0]?.peers, [
    'all pods in namespaces kubernetes.io/metadata.name=kube-system',
  ]);
  assert.deepEqual([web?.ingress.policies, web?.ingress.rules], [['shop/deny-all'], []]);
  assert.deepEqual([web?.egress.set, web?.egress.policies], [0, []]);
});

const ask = (query: string) => verdictOf(world, new URLSearchParams(query));

test('a verdict says for each direction that is judged here what decides it', () => {
  const allowed = ask('from=shop/web&to=shop/db&port=8080');
  assert.deepEqual([allowed.allowed, allowed.ingress?.allowedBy], [true, [{ policy: 'shop/db', rule: 0 }]]);
  assert.equal(allowed.egress?.reason, 'no policy isolates its egress');
  const denied = ask('from=shop/db&to=shop/web&port=http');
  assert.deepEqual([denied.allowed, denied.port], [false, 8080]);
  assert.match(denied.ingress?.reason ?? '', /isolated by NetworkPolicy shop\/deny-all/);
  assert.match(denied.egress?.reason ?? '', /isolated by NetworkPolicy shop\/db/);
  const remote = ask('from=shop/web&to=shop/far&port=8080&protocol=udp');
  assert.deepEqual([remote.allowed, remote.ingress, remote.protocol], [true, undefined, 'UDP']);
});

test('nodes, DNS and pods that nobody has heard of are judged as the programs judge them', () => {
  assert.deepEqual(
    [
      ask('from=172.31.0.11&to=shop/web&port=1').allowed,
      ask('from=172.31.0.12&to=shop/web&port=1').allowed,
      ask('from=shop/db&to=10.96.0.10&port=53&protocol=UDP').allowed,
      ask('from=shop/db&to=10.96.0.11&port=53&protocol=UDP').allowed,
    ],
    [true, false, true, false],
  );
  const unknown = ask('from=10.244.2.99&to=shop/db&port=8080');
  assert.equal(unknown.allowed, false);
  assert.match(unknown.ingress?.reason ?? '', /no pod is known to have 10\.244\.2\.99/);
  assert.equal(ask('from=shop/db&to=shop/web&protocol=icmp').protocol, 'ICMP');
});

const WRONG: readonly (readonly [string, string, string, RegExp])[] = [
  ['no port', 'from=shop/web&to=shop/db', 'bad-request', /port is required/],
  [
    'a port that has no such name',
    'from=shop/db&to=shop/web&port=nope',
    'bad-request',
    /its names: TCP\/http/,
  ],
  ['a port out of range', 'from=shop/db&to=shop/web&port=65536', 'bad-request', /port must be 1 to 65535/],
  [
    'an end that is no pod',
    'from=web&to=shop/db&port=1',
    'bad-request',
    /from must be namespace\/pod or an IP/,
  ],
  ['a pod that nobody knows', 'from=shop/wbe&to=shop/db&port=1', 'not-found', /no pod shop\/wbe is known/],
  [
    'another protocol',
    'from=shop/web&to=shop/db&port=1&protocol=GRE',
    'bad-request',
    /TCP, UDP, SCTP or ICMP/,
  ],
  ['two families', 'from=2001:db8::1&to=shop/db&port=1', 'bad-request', /no addresses of one family/],
  [
    'a Service',
    'from=shop/db&to=10.96.1.1&port=80',
    'bad-request',
    /Service shop\/web.*ask for one of shop\/web \(10\.244\.1\.5:8080\)/,
  ],
];
for (const [what, query, code, message] of WRONG)
  test(`a question with ${what} is refused with what to ask instead`, () => {
    assert.throws(() => ask(query), { code, message });
  });
