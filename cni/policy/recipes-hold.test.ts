import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { judged, networkPolicy, policyPlan } from '../../test/support/policy-objects.ts';

const EVERY_POD = {};
const ALL = { shop: ['shop/web', 'shop/api', 'shop/db'], ops: ['ops/prom', 'ops/web'] };
const WORLD = '203.0.113.7';

interface Recipe {
  readonly name: string;
  readonly spec: JsonObject;
  /** `from to [port [protocol]]`. */
  readonly allowed: readonly string[];
  readonly denied: readonly string[];
}

/** What people write, with what the Kubernetes documentation ("Network Policies") says it means. */
const recipes: readonly Recipe[] = [
  {
    name: 'default deny of ingress closes every pod of the namespace and leaves what they send alone',
    spec: { podSelector: EVERY_POD, policyTypes: ['Ingress'] },
    allowed: ['shop/web ops/prom', 'ops/prom ops/web', `shop/web ${WORLD}`],
    denied: ['shop/web shop/api', 'ops/prom shop/db', `${WORLD} shop/web`],
  },
  {
    name: 'default deny of egress closes what pods send and leaves what they receive alone',
    spec: { podSelector: EVERY_POD, policyTypes: ['Egress'] },
    allowed: ['ops/prom shop/web', `${WORLD} shop/web`],
    denied: ['shop/web shop/api', `shop/web ${WORLD}`, 'shop/api ops/prom'],
  },
  {
    name: 'an empty rule allows everything',
    spec: { podSelector: EVERY_POD, ingress: [{}] },
    allowed: ['shop/web shop/api', `${WORLD} shop/db 53 UDP`, 'ops/prom shop/db 9999 SCTP'],
    denied: [],
  },
  {
    name: 'a podSelector means pods of the own namespace',
    spec: {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'web' } } }] }],
    },
    allowed: ['shop/web shop/db', 'ops/web shop/api'],
    denied: ['ops/web shop/db', 'shop/api shop/db', `${WORLD} shop/db`],
  },
  {
    name: 'a namespaceSelector means every pod of those namespaces',
    spec: {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'b' } } }] }],
    },
    allowed: ['ops/web shop/db', 'ops/prom shop/db'],
    denied: ['shop/web shop/db'],
  },
  {
    name: 'both selectors in one peer must hold together, in two peers either will do',
    spec: {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [
        {
          from: [
            {
              namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'ops' } },
              podSelector: { matchLabels: { app: 'web' } },
            },
            { podSelector: { matchLabels: { app: 'api' } } },
          ],
        },
      ],
    },
    allowed: ['ops/web shop/db', 'shop/api shop/db'],
    denied: ['ops/prom shop/db', 'shop/web shop/db'],
  },
  {
    name: 'expressions: In, NotIn, Exists and DoesNotExist',
    spec: {
      podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['db', 'api'] }] },
      ingress: [
        {
          from: [
            {
              podSelector: {
                matchExpressions: [
                  { key: 'tier', operator: 'Exists' },
                  { key: 'app', operator: 'NotIn', values: ['api'] },
                  { key: 'gone', operator: 'DoesNotExist' },
                ],
              },
            },
          ],
        },
      ],
    },
    allowed: ['shop/web shop/db', 'shop/web shop/api'],
    denied: ['shop/api shop/db', 'shop/db shop/api', 'ops/web shop/db'],
  },
  {
    name: 'ports are TCP unless said otherwise; a port alone is open to anybody',
    spec: { podSelector: { matchLabels: { app: 'db' } }, ingress: [{ ports: [{ port: 5432 }] }] },
    allowed: [`${WORLD} shop/db 5432`, 'ops/prom shop/db 5432'],
    denied: ['shop/web shop/db 5433', 'shop/web shop/db 5432 UDP', 'shop/web shop/db 5432 SCTP'],
  },
  {
    name: 'endPort makes a range that begins and ends where it says',
    spec: {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [{ ports: [{ protocol: 'UDP', port: 1000, endPort: 3071 }] }],
    },
    allowed: ['shop/web shop/db 1000 UDP', 'shop/web shop/db 2048 UDP', 'shop/web shop/db 3071 UDP'],
    denied: ['shop/web shop/db 999 UDP', 'shop/web shop/db 3072 UDP', 'shop/web shop/db 2048 TCP'],
  },
  {
    name: 'a named port of ingress is the receiving pod’s own',
    spec: { podSelector: EVERY_POD, ingress: [{ ports: [{ port: 'http' }] }] },
    allowed: ['shop/api shop/web 8080', 'shop/web shop/api 80'],
    denied: ['shop/api shop/web 80', 'shop/web shop/api 8080'],
  },
  {
    name: 'a named port of egress is that of the pod it goes to',
    spec: { podSelector: EVERY_POD, policyTypes: ['Egress'], egress: [{ ports: [{ port: 'http' }] }] },
    allowed: ['shop/api shop/web 8080', 'shop/web ops/prom 80'],
    denied: ['shop/api shop/web 80', `shop/api ${WORLD} 80`],
  },
  {
    name: 'an ipBlock without its exceptions, pods’ own addresses included',
    spec: {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [{ from: [{ ipBlock: { cidr: '10.244.0.0/24', except: ['10.244.0.4/31'] } }] }],
    },
    allowed: ['shop/web shop/db', 'shop/api shop/db', '10.244.0.77 shop/db'],
    denied: ['ops/prom shop/db', 'ops/web shop/db', `${WORLD} shop/db`],
  },
  {
    name: 'without policyTypes egress is isolated only where there are egress rules',
    spec: {
      podSelector: { matchLabels: { app: 'web' } },
      egress: [{ to: [{ podSelector: { matchLabels: { app: 'api' } } }] }],
    },
    allowed: ['shop/web shop/api', 'shop/api shop/db'],
    denied: ['shop/web shop/db', 'shop/api shop/web'],
  },
];

for (const { name, spec, allowed, denied } of recipes) {
  test(name, () => {
    const plan = policyPlan([networkPolicy('one', spec)]);
    assert.deepEqual(plan.problems, []);
    const wrong = [
      ...allowed.filter((probe) => !judgedText(plan, probe)),
      ...denied.filter((probe) => judgedText(plan, probe)),
    ];
    assert.deepEqual(wrong, []);
  });
}

function judgedText(plan: ReturnType<typeof policyPlan>, probe: string): boolean {
  const [from = '', to = '', port = '80', protocol = 'TCP'] = probe.split(' ');
  if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') throw new Error(probe);
  return judged(plan, from, to, Number(port), protocol).allowed;
}

test('policies add up: what one allows no other takes away', () => {
  const plan = policyPlan([
    networkPolicy('deny', { podSelector: EVERY_POD, policyTypes: ['Ingress', 'Egress'] }),
    networkPolicy('web-out', { podSelector: { matchLabels: { app: 'web' } }, egress: [{}] }),
    networkPolicy('api-in', { podSelector: { matchLabels: { app: 'api' } }, ingress: [{}] }),
  ]);
  assert.equal(judged(plan, 'shop/web', 'shop/api').allowed, true);
  assert.equal(judged(plan, 'shop/db', 'shop/api').allowed, false);
  assert.equal(judged(plan, 'shop/web', 'shop/db').allowed, false);
});

test('without any policy everything goes, and a pod always reaches itself', () => {
  const open = policyPlan([]);
  for (const from of ALL.shop) for (const to of ALL.ops) assert.equal(judged(open, from, to).allowed, true);
  const closed = policyPlan([
    networkPolicy('deny', { podSelector: EVERY_POD, policyTypes: ['Ingress', 'Egress'] }),
  ]);
  assert.equal(judged(closed, 'shop/web', 'shop/web').allowed, true);
});

test('what has no ports, as an echo, passes where a rule names none', () => {
  const ports = networkPolicy('ports', { podSelector: EVERY_POD, ingress: [{ ports: [{ port: 80 }] }] });
  assert.equal(judged(policyPlan([ports]), 'shop/web', 'shop/db', 0, undefined).allowed, false);
  const any = networkPolicy('any', { podSelector: EVERY_POD, ingress: [{ from: [{ podSelector: {} }] }] });
  assert.equal(judged(policyPlan([any]), 'shop/web', 'shop/db', 0, undefined).allowed, true);
});

test('a verdict names the policies that isolate, or the rule that allows', () => {
  const plan = policyPlan([
    networkPolicy('deny', { podSelector: EVERY_POD, policyTypes: ['Ingress'] }),
    networkPolicy('web', {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'web' } } }] }],
    }),
  ]);
  assert.deepEqual(judged(plan, 'shop/api', 'shop/db').reasons, [
    'no policy isolates its egress',
    'isolated by NetworkPolicy shop/deny, shop/web; no ingress rule allows it',
  ]);
  assert.deepEqual(judged(plan, 'shop/web', 'shop/db').reasons, [
    'no policy isolates its egress',
    'allowed by NetworkPolicy shop/web, ingress rule 0',
  ]);
});

test('a field that can’t be used is reported and opens nothing', () => {
  const plan = policyPlan([
    networkPolicy('slip', {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/99' } }] }],
    }),
  ]);
  assert.match(plan.problems[0]?.field ?? '', /ingress\[0\]\.from\[0\]\.ipBlock\.cidr/);
  assert.equal(judged(plan, 'shop/web', 'shop/db').allowed, false);
});

test('a set keeps its number while it says the same, and gets another when it changes', () => {
  const deny = networkPolicy('deny', { podSelector: EVERY_POD, policyTypes: ['Ingress'] });
  const first = policyPlan([deny]);
  const again = policyPlan([deny], first);
  const changed = policyPlan(
    [networkPolicy('deny', { podSelector: EVERY_POD, ingress: [{ ports: [{ port: 80 }] }] })],
    again,
  );
  const set = (plan: typeof first) => plan.localPods.get('shop/db')?.ingressSet;
  assert.equal(set(again), set(first));
  assert.notEqual(set(changed), set(first));
  assert.notEqual(set(changed), 0);
});
