import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { watchSettings } from '../sources/files/settings.ts';
import { watchFiles } from '../sources/files/watch.ts';
import {
  connectKubernetes,
  type KubernetesAccess,
  type KubernetesClient,
} from '../sources/kubernetes/client.ts';
import { KINDS } from '../sources/kubernetes/kinds.ts';
import { watchClusterSettings } from '../sources/kubernetes/settings.ts';
import { trimNode, trimPod } from '../sources/kubernetes/trim.ts';
import type { WatchedKind } from '../sources/kubernetes/watch.ts';
import { followCluster } from '../sources/open.ts';
import type { ObjectSource, SettingsSource } from '../sources/source.ts';
import type { ControlPlaneOptions } from './options.ts';

/** Where a control plane's objects and settings come from. */
export interface Sources {
  readonly objects: ObjectSource;
  readonly settings: SettingsSource;
  /** Undefined where they come from folders. */
  readonly client: KubernetesClient | undefined;
  close(): void;
}

export interface SourcesDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** After each change of objects or settings. */
  readonly onChange: () => void;
}

/** What the mesh is built of on Kubernetes. */
export const MESH_KINDS: readonly WatchedKind[] = [
  { kind: KINDS.node, trim: trimNode },
  { kind: KINDS.namespace },
  { kind: KINDS.serviceAccount },
  { kind: KINDS.service },
  { kind: KINDS.endpointSlice },
  { kind: KINDS.pod, trim: trimPod },
  { kind: KINDS.httpRoute },
  { kind: KINDS.grpcRoute },
  { kind: KINDS.tlsRoute },
  { kind: KINDS.tcpRoute },
  { kind: KINDS.udpRoute },
  { kind: KINDS.referenceGrant },
  { kind: KINDS.trafficPolicy },
  { kind: KINDS.mtlsPolicy },
  { kind: KINDS.authorizationPolicy },
];

/**
 * Opens the sources that the command line names. Resolves once both are whole, which on Kubernetes may take as long as the
 * API server can't be reached.
 */
export function openSources(options: ControlPlaneOptions, deps: SourcesDeps): Promise<Sources> {
  const { kubernetes, namespace } = options;
  return kubernetes === undefined ? openFolders(options, deps) : openCluster(kubernetes, namespace, deps);
}

async function openFolders(options: ControlPlaneOptions, deps: SourcesDeps): Promise<Sources> {
  const settings = watchSettings({ file: options.settingsFile, ...deps });
  try {
    const objects = await watchFiles({ directories: options.manifests, ...deps });
    const close = () => {
      objects.close();
      settings.close();
    };
    return { objects, settings, client: undefined, close };
  } catch (thrown) {
    settings.close();
    throw thrown;
  }
}

async function openCluster(access: KubernetesAccess, namespace: string, deps: SourcesDeps): Promise<Sources> {
  const client = await connectKubernetes(access, deps.clock);
  const opened: { close(): void }[] = [client];
  const close = () => {
    for (const one of opened.toReversed()) one.close();
  };
  try {
    const settings = await watchClusterSettings({ client, namespace, ...deps });
    opened.push(settings);
    const objects = await followCluster(client, MESH_KINDS, deps);
    opened.push(objects);
    return { objects, settings, client, close };
  } catch (thrown) {
    close();
    throw thrown;
  }
}
