import type { LeftOut } from './own-cases.ts';

/** The cases of SIG Network in Kubernetes 1.34 that can't run here, each with its reason. Whatever isn't in here runs and passes. */
export const LEFT_OUT: readonly LeftOut[] = [
  {
    cases: /Feature:SCTPConnectivity/,
    why: 'needs SCTP sockets, which a kernel without the module sctp has none of, and Heddle forwards no SCTP',
  },
  { cases: /Feature:LoadBalancer/, why: 'needs a cloud that makes load balancers' },
  { cases: /Provider:GCE/, why: "asks for names of Google's own machines" },
  {
    cases: /Feature:Networking-IPv[46]|Feature:Networking-DNS/,
    why: 'needs the internet, to which the nodes have no way',
  },
  {
    cases: /KubeProxy|kube-proxy|recreate its iptables rules/,
    why: "needs kube-proxy's pods, pages, metrics or rules, and there is no kube-proxy",
  },
  {
    cases: /work after restarting apiserver/,
    why: 'needs an API server that is a pod; control-plane-lives-on-kubernetes.test.ts takes one away',
  },
  {
    cases: /DNS configMap nameserver/,
    why: "changes the ConfigMap of CoreDNS, and the DNS of the cluster is Heddle's",
  },
  {
    cases: /should support configurable pod resolv\.conf/,
    why: 'runs a CoreDNS out of its image, which is of no Go module of Kubernetes',
  },
  {
    cases: /FeatureGate:RelaxedServiceNameValidation/,
    why: 'needs an alpha feature that is off',
  },
  {
    cases: /Topology Hints|Traffic Distribution/,
    why: 'needs three zones, or two with two nodes each',
  },
  {
    cases: /implement NodePort and HealthCheckNodePort correctly/,
    why: 'needs three nodes',
  },
  {
    cases: /Feature:PerformanceDNS|Feature:Networking-Performance/,
    why: 'measures for minutes what a machine with two cores for two nodes can say nothing about',
  },
];
