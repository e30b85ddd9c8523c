/** An HTTPRoute of Service `shop/catalog` with the given rules. */
export function routeYaml(rules: string): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: catalog, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: catalog, port: 80}]
  rules:
${rules.replace(/^/gm, '  ')}
`;
}

export const RULES = {
  v2: '- backendRefs: [{name: catalog-v2, port: 80}]',
  nowhere: '- backendRefs: [{name: missing, port: 80}]',
  byHeader: `- matches: [{headers: [{name: x-user, value: beta}]}]
  backendRefs: [{name: catalog-v2, port: 80}]
- backendRefs: [{name: catalog-v1, port: 80}]
`,
  split: `- backendRefs:
  - {name: catalog-v1, port: 80, weight: 3}
  - {name: catalog-v2, port: 80, weight: 1}
`,
  headers: `- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier:
      set: [{name: x-set, value: "50% of %REQ(x-secret)%"}]
      add: [{name: x-many, value: two}]
      remove: [x-secret]
  - type: ResponseHeaderModifier
    responseHeaderModifier: {set: [{name: x-answer, value: 100%}]}
  backendRefs: [{name: catalog-v1, port: 80}]
`,
  timeout: `- timeouts: {request: 300ms}
  backendRefs: [{name: catalog-v1, port: 80}]
`,
} as const;

/** A Service whose endpoint is no pod of the mesh: it is dialled in plaintext. */
export function plainServiceYaml(port: number): string {
  return `apiVersion: v1
kind: Service
metadata: {name: plain, namespace: shop}
spec: {clusterIP: 10.96.8.1, clusterIPs: [10.96.8.1], ports: [{name: http, port: 80, targetPort: ${port}}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: plain-1, namespace: shop, labels: {kubernetes.io/service-name: plain}}
addressType: IPv4
ports: [{name: http, port: ${port}, protocol: TCP}]
endpoints: [{addresses: ["127.0.0.1"], conditions: {ready: true}}]
`;
}
