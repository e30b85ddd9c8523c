import { join } from 'node:path';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import type { MeshSettings } from '../../model/mesh.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { SETTINGS_FILE } from '../../sources/files/scan.ts';
import { loadSettings } from '../../sources/files/settings.ts';
import { orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { readConfigMap, SETTINGS_CONFIG_MAP } from '../../sources/kubernetes/settings.ts';
import { asUnreachable } from './kubernetes.ts';
import type { Mesh } from './which.ts';

/** The mesh's settings as they are written; defaults where they can't be used. Rejects where we may not read them. */
export async function settingsOf(mesh: Mesh): Promise<MeshSettings> {
  if (mesh.kind === 'local') return loadSettings(join(mesh.file.manifests, SETTINGS_FILE)).settings;
  const ref = { namespace: SYSTEM_NAMESPACE, name: SETTINGS_CONFIG_MAP };
  try {
    const object = await orMissing(mesh.client.get(KINDS.configMap, ref));
    return readConfigMap(object, `ConfigMap ${ref.namespace}/${ref.name}`, DEFAULT_MESH_SETTINGS).settings;
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
}
