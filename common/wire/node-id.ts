/** The parts of a node id: `sidecar~<pod-ip>~<pod>.<ns>~<ns>.svc.cluster.local`. */
export interface NodeId {
  readonly podIp: string;
  readonly pod: string;
  readonly namespace: string;
}

export const nodeIdBytesMax = 512;

export function formatNodeId(node: NodeId): string {
  return `sidecar~${node.podIp}~${node.pod}.${node.namespace}~${node.namespace}.svc.cluster.local`;
}

/** Undefined where the text is not exactly a node id. Pod names may hold dots, namespaces can't. */
export function parseNodeId(text: string): NodeId | undefined {
  if (Buffer.byteLength(text) > nodeIdBytesMax) return undefined;
  const parts = text.split('~');
  if (parts.length !== 4) return undefined;
  const [kind, podIp = '', qualified = '', domain] = parts;
  const dot = qualified.lastIndexOf('.');
  if (kind !== 'sidecar' || dot <= 0) return undefined;
  const namespace = qualified.slice(dot + 1);
  if (namespace === '' || domain !== `${namespace}.svc.cluster.local`) return undefined;
  return { podIp, pod: qualified.slice(0, dot), namespace };
}
