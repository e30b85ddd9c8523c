/** Where a node's agent answers `heddle cni` and `heddle drops`, on a node of Kubernetes. */
export const AGENT_SOCKET = '/run/heddle/cni-admin.sock';

/** Label, container and command by which an agent is reached through the API server: `cni/dial` in the agent's own image. */
export const AGENT_POD = {
  labelSelector: 'app.kubernetes.io/name=heddle-cni',
  container: 'agent',
  command: ['/usr/local/bin/node', '/heddle/cni/dial/main.mjs'],
} as const;

/** Exit codes of `cni/dial`. */
export const DIAL_EXIT = { done: 0, failed: 1, usage: 2, noAgent: 3 } as const;
