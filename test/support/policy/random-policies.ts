import fc from 'fast-check';
import type { JsonObject } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { CASE_PORTS, type TruthCase } from './case.ts';

/** What policies may ask for that pods of `cluster.ts` have, and a few things that none of them has. */
const LABELS = [
  ['app', ['a', 'b', 'c', 'gone']],
  ['tier', ['front', 'back']],
  ['env', ['prod', 'dev']],
] as const;
const NAMESPACE_LABELS = [
  ['team', ['red', 'blue']],
  ['env', ['prod']],
  ['kubernetes.io/metadata.name', ['x', 'y', 'z']],
] as const;
const CIDRS = [
  '10.244.0.0/16',
  '10.244.1.0/24',
  '10.244.2.0/29',
  '10.244.1.4/32',
  '0.0.0.0/0',
  '203.0.113.0/24',
  '192.0.2.0/24',
  'fd10:244::/56',
  'fd10:244:0:2::/64',
  '2001:db8::/32',
  '::/0',
];
const EXCEPTS: Readonly<Record<string, readonly string[]>> = {
  '10.244.0.0/16': ['10.244.2.0/24', '10.244.1.4/31'],
  '10.244.1.0/24': ['10.244.1.2/32'],
  '0.0.0.0/0': ['10.0.0.0/8', '203.0.113.7/32'],
  'fd10:244::/56': ['fd10:244:0:1::/64'],
  '192.0.2.0/24': ['192.0.2.11/32'],
  '2001:db8::/32': ['2001:db8:1::/48', '2001:db8::12/128'],
  '::/0': ['fd10:244::/56'],
};

type Labels = readonly (readonly [string, readonly string[]])[];

function selector(labels: Labels): fc.Arbitrary<JsonObject> {
  const one = fc.constantFrom(...labels);
  const match = one.chain(([key, values]) => fc.constantFrom(...values).map((value) => ({ [key]: value })));
  const expression = one.chain(([key, values]) =>
    fc.oneof(
      fc.constantFrom('Exists', 'DoesNotExist').map((operator) => ({ key, operator })),
      fc
        .tuple(fc.constantFrom('In', 'NotIn'), fc.subarray([...values], { minLength: 1 }))
        .map(([operator, chosen]) => ({ key, operator, values: chosen })),
    ),
  );
  return fc.oneof(
    fc.constant({}),
    match.map((matchLabels) => ({ matchLabels })),
    fc.array(expression, { minLength: 1, maxLength: 2 }).map((matchExpressions) => ({ matchExpressions })),
    fc.tuple(match, expression).map(([matchLabels, wanted]) => ({ matchLabels, matchExpressions: [wanted] })),
  );
}

const pods = selector(LABELS);
const namespaces = selector(NAMESPACE_LABELS);

const block = fc
  .constantFrom(...CIDRS)
  .chain((cidr) =>
    fc
      .subarray([...(EXCEPTS[cidr] ?? [])])
      .map((except) => ({ ipBlock: { cidr, ...(except.length === 0 ? {} : { except }) } })),
  );

const peer: fc.Arbitrary<JsonObject> = fc.oneof(
  pods.map((podSelector) => ({ podSelector })),
  namespaces.map((namespaceSelector) => ({ namespaceSelector })),
  fc.tuple(pods, namespaces).map(([podSelector, namespaceSelector]) => ({ podSelector, namespaceSelector })),
  block,
);

const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP');
const port: fc.Arbitrary<JsonObject> = fc.oneof(
  fc.constant({}),
  protocol.map((name) => ({ protocol: name })),
  fc
    .tuple(protocol, fc.constantFrom(80, 81, 8080))
    .map(([name, number]) => ({ protocol: name, port: number })),
  fc
    .constantFrom('http', 'dns', 'sig')
    .chain((name) => protocol.map((one) => ({ protocol: one, port: name }))),
  fc
    .tuple(protocol, fc.constantFrom(79, 80, 81), fc.constantFrom(81, 90, 8080))
    .map(([name, from, endPort]) => ({ protocol: name, port: from, endPort })),
);

function rule(side: 'from' | 'to'): fc.Arbitrary<JsonObject> {
  return fc
    .record({
      peers: fc.option(fc.array(peer, { maxLength: 3 }), { nil: undefined }),
      ports: fc.option(fc.array(port, { maxLength: 3 }), { nil: undefined }),
    })
    .map(({ peers, ports }) => ({
      ...(peers === undefined ? {} : { [side]: peers }),
      ...(ports === undefined ? {} : { ports }),
    }));
}

const spec: fc.Arbitrary<JsonObject> = fc
  .record({
    podSelector: pods,
    policyTypes: fc.option(fc.subarray(['Ingress', 'Egress'], { minLength: 1 }), { nil: undefined }),
    ingress: fc.option(fc.array(rule('from'), { maxLength: 2 }), { nil: undefined }),
    egress: fc.option(fc.array(rule('to'), { maxLength: 2 }), { nil: undefined }),
  })
  .map(({ podSelector, policyTypes, ingress, egress }) => ({
    podSelector,
    ...(policyTypes === undefined ? {} : { policyTypes }),
    ...(ingress === undefined ? {} : { ingress }),
    ...(egress === undefined ? {} : { egress }),
  }));

const policySet = fc.array(fc.tuple(fc.constantFrom('x', 'y', 'z'), spec), { minLength: 1, maxLength: 4 });

/** Sets of policies, the same ones for the same seed. */
export function randomCases(count: number, seed: number): readonly TruthCase[] {
  return fc.sample(policySet, { numRuns: count, seed }).map((policies, index) => ({
    name: `random set ${index} of seed ${seed}`,
    ports: CASE_PORTS,
    policies: policies.map(
      ([namespace, made], at): KubeObject => ({
        ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
        metadata: { name: `p${at}`, namespace },
        spec: made,
      }),
    ),
  }));
}
