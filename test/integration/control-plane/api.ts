import type { ProxyInfo } from '../../../control-plane/view.ts';
import { askPage } from '../mesh/pages.ts';

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

interface ItemsPage<T> {
  readonly items: readonly T[];
}

interface ObjectWithStatus {
  readonly status?: {
    readonly parents?: readonly { readonly conditions: readonly Condition[] }[];
    readonly ancestors?: readonly { readonly conditions: readonly Condition[] }[];
  };
}

async function items<T>(dashboardPort: number, path: string): Promise<readonly T[]> {
  const page = await askPage(`http://127.0.0.1:${dashboardPort}/api/heddle/${path}`);
  return (JSON.parse(page.body) as ItemsPage<T>).items;
}

/** How the control plane sees the proxy of a pod (`namespace/name`); undefined while it isn't connected. */
export async function proxyOf(dashboardPort: number, pod: string): Promise<ProxyInfo | undefined> {
  return (await items<ProxyInfo>(dashboardPort, 'proxies')).find((proxy) => proxy.pod === pod);
}

/** Whether a proxy has answered everything that it was sent. */
export function isInStep(proxy: ProxyInfo | undefined): boolean {
  return proxy !== undefined && Object.values(proxy.pending).every((count) => count === 0);
}

/** The conditions of an object's first parent, as the API shows them. */
async function conditionsOf(
  dashboardPort: number,
  kind: string,
  name: string,
): Promise<readonly Condition[]> {
  const [object] = await items<ObjectWithStatus>(dashboardPort, `objects?kind=${kind}&name=${name}`);
  return (object?.status?.parents ?? object?.status?.ancestors ?? [])[0]?.conditions ?? [];
}

export async function programmedOf(
  dashboardPort: number,
  kind: string,
  name: string,
): Promise<Condition | undefined> {
  return (await conditionsOf(dashboardPort, kind, name)).find(({ type }) => type === 'Programmed');
}
