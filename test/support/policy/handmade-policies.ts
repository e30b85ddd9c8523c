import type { JsonObject } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { CASE_PORTS, type TruthCase } from './case.ts';

type Policies = Readonly<Record<string, JsonObject>>;

const EVERY = { podSelector: {} };
const label = (key: string, value: string) => ({ matchLabels: { [key]: value } });
const app = (name: string) => ({ podSelector: label('app', name) });
const team = (name: string) => ({ namespaceSelector: label('team', name) });
const block = (cidr: string, ...except: readonly string[]) => ({
  ipBlock: { cidr, ...(except.length === 0 ? {} : { except }) },
});
const port = (protocol: string, number: number | string, endPort?: number) => ({
  ...{ protocol, port: number },
  ...(endPort === undefined ? {} : { endPort }),
});

/** What people write, and what people get wrong; `namespace/name` → spec, over the pods of `cluster.ts`. */
const SETS: Readonly<Record<string, Policies>> = {
  'no policy at all': {},
  'default deny of ingress': { 'x/deny': { ...EVERY, policyTypes: ['Ingress'] } },
  'default deny of egress': { 'x/deny': { ...EVERY, policyTypes: ['Egress'] } },
  'default deny of both, everywhere': {
    'x/deny': { ...EVERY, policyTypes: ['Ingress', 'Egress'] },
    'y/deny': { ...EVERY, policyTypes: ['Ingress', 'Egress'] },
    'z/deny': { ...EVERY, policyTypes: ['Ingress', 'Egress'] },
  },
  'deny and an exception for one pod': {
    'x/deny': { ...EVERY, policyTypes: ['Ingress'] },
    'x/allow': { ...app('b'), ingress: [{ from: [app('a')] }] },
  },
  'an empty rule allows everybody': { 'x/open': { ...EVERY, ingress: [{}] } },
  'an empty list of rules allows nobody': { 'x/shut': { ...EVERY, ingress: [] } },
  'an empty list of peers means everybody': { 'x/open': { ...EVERY, ingress: [{ from: [] }] } },
  'egress rules alone isolate both ways': { 'x/out': { ...EVERY, egress: [{ to: [app('a')] }] } },
  'policyTypes without Ingress leave rules of ingress unread': {
    'x/out': { ...EVERY, policyTypes: ['Egress'], ingress: [{ from: [app('a')] }] },
  },
  'pods of the own namespace only': { 'y/own': { ...EVERY, ingress: [{ from: [EVERY] }] } },
  'pods of all namespaces': { 'y/all': { ...EVERY, ingress: [{ from: [{ namespaceSelector: {} }] }] } },
  'a namespace by its name': {
    'y/from-x': {
      ...EVERY,
      ingress: [{ from: [{ namespaceSelector: label('kubernetes.io/metadata.name', 'x') }] }],
    },
  },
  'both selectors in one peer must hold': {
    'y/and': { ...app('a'), ingress: [{ from: [{ ...team('red'), ...app('a') }] }] },
  },
  'in two peers either will do': { 'y/or': { ...app('a'), ingress: [{ from: [team('red'), app('b')] }] } },
  'one port': { 'x/port': { ...EVERY, ingress: [{ ports: [port('TCP', 80)] }] } },
  'a port of the wrong protocol': { 'x/port': { ...EVERY, ingress: [{ ports: [port('UDP', 8080)] }] } },
  'a protocol without a port': { 'z/sctp': { ...EVERY, ingress: [{ ports: [{ protocol: 'SCTP' }] }] } },
  'TCP where no protocol is named': { 'x/tcp': { ...EVERY, ingress: [{ ports: [{ port: 80 }, {}] }] } },
  'a named port is each pod’s own': { 'x/http': { ...EVERY, ingress: [{ ports: [port('TCP', 'http')] }] } },
  'a named port of the receiver in egress': {
    'x/http': { ...EVERY, egress: [{ to: [{ namespaceSelector: {} }], ports: [port('TCP', 'http')] }] },
  },
  'a named port of addresses': {
    'x/http': { ...EVERY, egress: [{ to: [block('10.244.0.0/16')], ports: [port('TCP', 'http')] }] },
  },
  'a name that no pod gives': { 'x/gone': { ...EVERY, ingress: [{ ports: [port('TCP', 'gone')] }] } },
  'a name of another protocol': { 'y/dns': { ...EVERY, ingress: [{ ports: [port('UDP', 'dns')] }] } },
  'a range of ports': { 'x/range': { ...EVERY, ingress: [{ ports: [port('TCP', 80, 81)] }] } },
  'a range that begins at odd numbers': {
    'x/range': { ...EVERY, egress: [{ ports: [port('UDP', 81, 8079), port('TCP', 79, 80)] }] },
  },
  'the world in, but not pods': {
    'x/world': {
      ...EVERY,
      ingress: [{ from: [block('0.0.0.0/0', '10.0.0.0/8'), block('::/0', 'fd00::/8')] }],
    },
  },
  'all but one address of the world out': {
    'x/world': { ...EVERY, egress: [{ to: [block('0.0.0.0/0', '203.0.113.7/32')] }] },
  },
  'pods by their addresses': {
    'y/block': { ...EVERY, ingress: [{ from: [block('10.244.1.0/24', '10.244.1.2/32')] }] },
  },
  'IPv6 alone': { 'y/six': { ...EVERY, ingress: [{ from: [block('fd10:244:0:1::/64')] }] } },
  'nodes by their addresses': {
    'x/nodes': { ...EVERY, ingress: [{ from: [block('192.0.2.11/32'), block('2001:db8::12/128')] }] },
    'x/out': { ...EVERY, egress: [{ to: [block('192.0.2.0/24', '192.0.2.12/32')] }] },
  },
  'nested blocks at different ports': {
    'z/blocks': {
      ...EVERY,
      ingress: [
        { from: [block('10.244.0.0/16')], ports: [port('TCP', 80)] },
        { from: [block('10.244.1.0/24')], ports: [port('TCP', 81)] },
        { from: [block('10.244.1.2/32')], ports: [port('UDP', 80)] },
      ],
    },
  },
  'a block and a selector that hold the same pod': {
    'z/both': {
      ...EVERY,
      ingress: [
        { from: [block('10.244.0.0/16')], ports: [port('TCP', 80)] },
        { from: [team('blue')], ports: [port('TCP', 8080)] },
      ],
    },
  },
  'two policies of one pod add up': {
    'x/one': { ...app('a'), ingress: [{ from: [app('b')], ports: [port('TCP', 80)] }] },
    'x/two': { ...EVERY, ingress: [{ from: [team('blue')], ports: [port('TCP', 8080)] }] },
  },
  'the sender may, the receiver mayn’t': {
    'x/out': { ...EVERY, egress: [{}] },
    'y/in': { ...EVERY, policyTypes: ['Ingress'] },
  },
  'expressions of all four kinds': {
    'x/in': {
      podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['a', 'b'] }] },
      ingress: [
        { from: [{ podSelector: { matchExpressions: [{ key: 'env', operator: 'Exists' }] } }] },
        {
          from: [
            {
              namespaceSelector: { matchExpressions: [{ key: 'env', operator: 'DoesNotExist' }] },
              podSelector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['front'] }] },
            },
          ],
        },
      ],
    },
  },
};

export function handmadeCases(): readonly TruthCase[] {
  return Object.entries(SETS).map(([name, specs]) => ({
    ...{ name, ports: CASE_PORTS },
    policies: Object.entries(specs).map(([key, spec]): KubeObject => {
      const [namespace = '', policy = ''] = key.split('/');
      return {
        ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
        ...{ metadata: { name: policy, namespace }, spec },
      };
    }),
  }));
}
