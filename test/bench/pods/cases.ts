import type { MeasureName } from './measures.ts';
import type { Stage } from './stage.ts';
import type { Way } from './way.ts';
import { waysOfCapture } from './ways/capture.ts';
import { waysToPods } from './ways/pods.ts';
import { waysThroughPolicies } from './ways/policies.ts';
import { waysToServices } from './ways/services.ts';

/** What is measured of the pod network: ways beside each other in one run. */
export interface PodCase {
  readonly name: `pod-${string}`;
  readonly summary: string;
  readonly measures: readonly MeasureName[];
  /** Which way is held against which; the first is what the pod network promises where it has a budget. */
  readonly comparisons: readonly Comparison[];
  build(stage: Stage): Promise<readonly Way[]>;
}

export interface Comparison {
  readonly way: string;
  readonly against: string;
  /** Requests on kept connections that the same CPU time carries, at least this many times the other way's. */
  readonly atLeast?: number;
}

const ALL_MEASURES: readonly MeasureName[] = ['keep-alive', 'new connections', 'bulk', 'paced'];
const podsAtLeast = 1.1;
const captureAtLeast = 0.95;
const toPods: readonly Comparison[] = [
  { way: 'heddle+policy', against: 'bridge+kube-proxy', atLeast: podsAtLeast },
  { way: 'heddle+policy', against: 'bridge', atLeast: podsAtLeast },
  { way: 'heddle+policy', against: 'bridge, bare' },
  { way: 'heddle', against: 'bridge' },
];

export const POD_CASES: readonly PodCase[] = [
  {
    name: 'pod-same-node',
    summary: 'from pod to pod of the same node',
    measures: ALL_MEASURES,
    comparisons: toPods,
    build: (stage) => waysToPods(stage, 1),
  },
  {
    name: 'pod-cross-node',
    summary: 'from pod to pod of another node, through VXLAN',
    measures: ALL_MEASURES,
    comparisons: toPods,
    build: (stage) => waysToPods(stage, 2),
  },
  {
    name: 'pod-service',
    summary: 'from a pod to a ClusterIP of two endpoints on its node, among 1 and 1,000 Services',
    measures: ['keep-alive', 'new connections'],
    comparisons: [
      { way: 'heddle, 1', against: 'kube-proxy, 1' },
      { way: 'heddle, 1000', against: 'kube-proxy, 1000' },
      { way: 'heddle, 1000', against: 'heddle, 1' },
      { way: 'kube-proxy, 1000', against: 'kube-proxy, 1' },
    ],
    build: waysToServices,
  },
  {
    name: 'pod-policy',
    summary: 'to a pod of the same node that 1 and 1,000 policies isolate',
    measures: ['keep-alive', 'new connections'],
    comparisons: [
      { way: 'heddle, 1', against: 'iptables, 1' },
      { way: 'heddle, 1000', against: 'iptables, 1000' },
      { way: 'heddle, 1000', against: 'heddle, 1' },
      { way: 'iptables, 1000', against: 'iptables, 1' },
    ],
    build: waysThroughPolicies,
  },
  {
    name: 'pod-capture',
    summary:
      'captured connections, answered by the listener itself, beside direct ones and iptables REDIRECT',
    measures: ALL_MEASURES,
    comparisons: [
      { way: 'out, captured', against: 'out, direct', atLeast: captureAtLeast },
      { way: 'in, captured', against: 'in, direct', atLeast: captureAtLeast },
      { way: 'out, REDIRECT', against: 'out, direct' },
      { way: 'in, REDIRECT', against: 'in, direct' },
    ],
    build: waysOfCapture,
  },
];
