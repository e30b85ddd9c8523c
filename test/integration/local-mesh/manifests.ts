export interface AppManifest {
  readonly name: string;
  readonly namespace?: string;
  readonly replicas?: number;
  readonly version?: string;
  /** Lines of YAML that follow the container's own, indented for it. */
  readonly container?: string;
  readonly volumes?: string;
  /** A port on 127.0.0.1 for a LoadBalancer. */
  readonly publishedPort?: number;
}

/** A namespace, labelled for injection or not. */
export function namespaceYaml(name: string, injected: boolean): string {
  const labels = injected ? ', labels: {heddle.dev/inject: enabled}' : '';
  return `---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}${labels}}\n`;
}

/** A Deployment of the test's app with its Service. */
export function appYaml(app: AppManifest): string {
  const { name, namespace = 'lab', replicas = 1, version = 'v1', container = '', volumes = '' } = app;
  const published =
    app.publishedPort === undefined
      ? ''
      : `  - {name: public, port: ${app.publishedPort}, targetPort: http}\n`;
  return `---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  type: ${app.publishedPort === undefined ? 'ClusterIP' : 'LoadBalancer'}
  selector: {app: ${name}}
  ports:
  - {name: http, port: 8088, targetPort: http}
${published}---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      terminationGracePeriodSeconds: 10
${volumes}      containers:
      - name: app
        command: [node, app.mjs]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        env:
        - {name: VERSION, value: ${version}}
${container}`;
}
