/** Manifests that several behaviour tests share, with only what differs as a parameter. */

export function namespaceYaml(name: string): string {
  return `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}, labels: {heddle.dev/inject: enabled}}\n`;
}

export function strictYaml(namespace: string): string {
  return `apiVersion: heddle.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: strict, namespace: ${namespace}}
spec: {mode: STRICT}
`;
}

/** A canary: `percent` of the requests to Service `catalog` go to `catalog-v2`, the others to `catalog-v1`. */
export function canaryYaml(percent: number): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: catalog, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: catalog, port: 80}]
  rules:
  - backendRefs:
    - {name: catalog-v1, port: 80, weight: ${100 - percent}}
    - {name: catalog-v2, port: 80, weight: ${percent}}
`;
}

export function trafficPolicyYaml(service: string, spec: string): string {
  return `apiVersion: heddle.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: ${service}, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: ${service}}]
${spec.replace(/^/gm, '  ')}
`;
}
