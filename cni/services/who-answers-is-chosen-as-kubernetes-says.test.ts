import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { compiled, nodeOf, serviceOf, shownPlan, sliceOf } from '../../test/support/service-objects.ts';
import { SCOPE, SERVICE } from '../maps/constants.ts';

/** Who answers on node n1 in zone a: at the cluster IP, and at the load balancer's address to callers inside and outside. */
interface Case {
  readonly name: string;
  readonly endpoints: readonly string[];
  readonly spec?: JsonObject;
  readonly zone?: string;
  readonly cluster: string;
  readonly inside?: string;
  readonly outside?: string;
}

const LOCAL = { externalTrafficPolicy: 'Local' };
const INTERNAL_LOCAL = { internalTrafficPolicy: 'Local' };

const cases: readonly Case[] = [
  { name: 'nobody, where there is no endpoint', endpoints: [], cluster: '' },
  { name: 'every ready endpoint', endpoints: ['1 n1', '2 n2'], cluster: '1 2' },
  { name: 'an endpoint whose readiness is unknown', endpoints: ['1'], cluster: '1' },
  { name: 'no unready endpoint', endpoints: ['1 unready', '2'], cluster: '2' },
  { name: 'nobody, where all are unready', endpoints: ['1 unready', '2 unready serving'], cluster: '' },
  {
    name: 'no terminating one beside a ready one',
    endpoints: ['1 unready serving stopping', '2'],
    cluster: '2',
  },
  {
    name: 'terminating ones that serve, where nobody is ready',
    endpoints: ['1 unready serving stopping', '2 unready'],
    cluster: '1',
  },
  { name: 'no terminating one that serves no more', endpoints: ['1 unready refusing stopping'], cluster: '' },
  {
    name: 'no terminating one of unknown service that is unready',
    endpoints: ['1 unready stopping'],
    cluster: '',
  },
  { name: 'a terminating one that still counts as ready', endpoints: ['1 stopping'], cluster: '1' },
  {
    name: 'unready ones of a Service that publishes them',
    endpoints: ['1 unready', '2'],
    spec: { publishNotReadyAddresses: true },
    cluster: '1 2',
  },
  { name: 'one endpoint once, however often it is listed', endpoints: ['1 n1', '1 n1'], cluster: '1' },
  { name: 'the ready one of two that are one', endpoints: ['1 unready', '1', '1 unready'], cluster: '1' },

  {
    name: 'this node alone for external policy Local',
    endpoints: ['1 n1', '2 n2'],
    spec: LOCAL,
    cluster: '1 2',
    inside: '1 2',
    outside: '1',
  },
  {
    name: 'nobody outside for Local without an endpoint here',
    endpoints: ['2 n2'],
    spec: LOCAL,
    cluster: '2',
    inside: '2',
    outside: '',
  },
  {
    name: 'Local: terminating ones here before ready ones elsewhere',
    endpoints: ['1 n1 unready serving stopping', '2 n2'],
    spec: LOCAL,
    cluster: '2',
    inside: '2',
    outside: '1',
  },
  {
    name: 'Local: a ready one here, not the terminating one beside it',
    endpoints: ['1 n1 unready serving stopping', '2 n1'],
    spec: LOCAL,
    cluster: '2',
    inside: '2',
    outside: '2',
  },
  {
    name: 'Local: no endpoint of an unknown node',
    endpoints: ['1'],
    spec: LOCAL,
    cluster: '1',
    inside: '1',
    outside: '',
  },
  {
    name: 'external policy says nothing of the cluster IP',
    endpoints: ['2 n2'],
    spec: { ...LOCAL, internalTrafficPolicy: 'Cluster' },
    cluster: '2',
    inside: '2',
    outside: '',
  },
  {
    name: 'this node alone at the cluster IP for internal policy Local',
    endpoints: ['1 n1', '2 n2'],
    spec: INTERNAL_LOCAL,
    cluster: '1',
    inside: '1 2',
    outside: '1 2',
  },
  {
    name: 'nobody at the cluster IP for internal policy Local without one here',
    endpoints: ['2 n2'],
    spec: INTERNAL_LOCAL,
    cluster: '',
    inside: '2',
    outside: '2',
  },
  {
    name: 'internal policy Local: terminating ones here',
    endpoints: ['1 n1 unready serving stopping', '2 n2'],
    spec: INTERNAL_LOCAL,
    cluster: '1',
    inside: '2',
    outside: '2',
  },
  {
    name: 'both policies Local',
    endpoints: ['1 n1', '2 n2'],
    spec: { ...LOCAL, ...INTERNAL_LOCAL },
    cluster: '1',
    inside: '1 2',
    outside: '1',
  },

  { name: 'the zone that hints name', endpoints: ['1 zones=a', '2 zones=b'], zone: 'a', cluster: '1' },
  {
    name: 'endpoints with several zones in their hints',
    endpoints: ['1 zones=a,b', '2 zones=b'],
    zone: 'b',
    cluster: '1 2',
  },
  { name: 'everybody, where one has no hint', endpoints: ['1 zones=a', '2'], zone: 'a', cluster: '1 2' },
  {
    name: 'everybody, where no hint names the zone',
    endpoints: ['1 zones=b', '2 zones=c'],
    zone: 'a',
    cluster: '1 2',
  },
  { name: 'everybody, where the node has no zone', endpoints: ['1 zones=a', '2 zones=b'], cluster: '1 2' },
  {
    name: 'hints of unready endpoints count for nothing',
    endpoints: ['1 zones=a', '2 unready'],
    zone: 'a',
    cluster: '1',
  },
  {
    name: 'everybody, where the only one of the zone is unready',
    endpoints: ['1 zones=a unready', '2 zones=b'],
    zone: 'a',
    cluster: '2',
  },
  {
    name: 'hints don’t keep terminating ones away where nobody is ready',
    endpoints: ['1 zones=b unready serving stopping'],
    zone: 'a',
    cluster: '1',
  },
  { name: 'the node that hints name', endpoints: ['1 nodes=n1', '2 nodes=n2'], cluster: '1' },
  {
    name: 'hints of nodes before those of zones',
    endpoints: ['1 nodes=n1 zones=a', '2 nodes=n2 zones=a'],
    zone: 'a',
    cluster: '1',
  },
  {
    name: 'hints of zones, where none names the node',
    endpoints: ['1 nodes=n2 zones=a', '2 nodes=n3 zones=b'],
    zone: 'a',
    cluster: '1',
  },
  {
    name: 'hints of zones, where one has none of nodes',
    endpoints: ['1 nodes=n1 zones=a', '2 zones=a', '3 zones=b'],
    zone: 'a',
    cluster: '1 2',
  },
  {
    name: 'Local knows no hints',
    endpoints: ['1 n1 zones=b', '2 n2 zones=a'],
    zone: 'a',
    spec: LOCAL,
    cluster: '2',
    inside: '2',
    outside: '1',
  },

  {
    name: 'the same zone by trafficDistribution without hints',
    endpoints: ['1 zone=a', '2 zone=b'],
    zone: 'a',
    spec: { trafficDistribution: 'PreferSameZone' },
    cluster: '1',
  },
  {
    name: 'the same zone by its older name',
    endpoints: ['1 zone=a', '2 zone=b'],
    zone: 'b',
    spec: { trafficDistribution: 'PreferClose' },
    cluster: '2',
  },
  {
    name: 'everybody for PreferClose where none is near',
    endpoints: ['1 zone=b', '2 zone=c'],
    zone: 'a',
    spec: { trafficDistribution: 'PreferClose' },
    cluster: '1 2',
  },
  {
    name: 'the same node by trafficDistribution',
    endpoints: ['1 n1', '2 n2'],
    spec: { trafficDistribution: 'PreferSameNode' },
    cluster: '1',
  },
  {
    name: 'PreferSameNode: the same zone where none is on the node',
    endpoints: ['1 n2 zone=a', '2 n3 zone=b'],
    zone: 'a',
    spec: { trafficDistribution: 'PreferSameNode' },
    cluster: '1',
  },
  {
    name: 'hints that are given, not those trafficDistribution would give',
    endpoints: ['1 zone=a zones=b', '2 zone=b zones=a'],
    zone: 'a',
    spec: { trafficDistribution: 'PreferClose' },
    cluster: '2',
  },
];

/** `1 2` → `10.244.0.1:8080 10.244.0.2:8080`. */
function whole(short: string): string {
  return short.replace(/\d+/g, '10.244.0.$&:8080');
}

for (const one of cases) {
  test(one.name, () => {
    const spec = { type: 'LoadBalancer', clusterIP: '10.96.1.1', ...one.spec };
    const status = { loadBalancer: { ingress: [{ ip: '203.0.113.7' }] } };
    const endpoints = one.endpoints.map((text) => `10.244.0.${text}`);
    const plan = compiled({
      services: [serviceOf('web', spec, { status })],
      endpointSlices: [sliceOf('web', endpoints)],
      nodes: [nodeOf('n2', 'z'), nodeOf('n1', one.zone)],
    });
    assert.deepEqual(plan.problems, []);
    assert.deepEqual(shownPlan(plan), {
      'in 10.96.1.1:80/TCP': whole(one.cluster),
      'in 203.0.113.7:80/TCP': whole(one.inside ?? one.cluster),
      'out 203.0.113.7:80/TCP': whole(one.outside ?? one.cluster),
    });
    const elsewhere = one.outside === '' && (one.inside ?? one.cluster) !== '';
    for (const { key, value, backends } of plan.frontends) {
      const dropped = (value.flags & SERVICE.ELSEWHERE) !== 0;
      assert.equal(dropped, elsewhere && key.scope === SCOPE.EXTERNAL, 'dropped, not refused');
      assert.equal(value.count, backends.length);
      assert.equal(value.id > 0, backends.length > 0);
      const slots = plan.backends.filter(({ key }) => key.serviceId === value.id);
      assert.equal(slots.length, value.count);
    }
  });
}
