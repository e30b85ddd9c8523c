import type { Clock } from '../../common/clock.ts';
import { isJsonObject } from '../../common/json.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { MeshSettings } from '../../model/mesh.ts';
import type { KubeObject } from '../../model/objects.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { readSettings } from '../files/settings.ts';
import type { SettingsSource, SettingsState } from '../source.ts';
import type { KubernetesClient } from './client.ts';
import { KINDS } from './kinds.ts';
import { watchCluster } from './watch.ts';

/** The ConfigMap of an installation that holds the mesh's settings, and their place in it. */
export const SETTINGS_CONFIG_MAP = 'heddle';
const SETTINGS_KEY = 'mesh.yaml';

export interface ClusterSettingsOptions {
  readonly client: KubernetesClient;
  readonly namespace: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: Random;
  /** After each change, once the first state was read. */
  onChange(state: SettingsState): void;
}

/**
 * Follows the mesh's settings in their ConfigMap. What can't be used keeps its last good value and is reported, also where
 * the ConfigMap or its key is gone. Resolves once the ConfigMap was looked for.
 */
export async function watchClusterSettings(options: ClusterSettingsOptions): Promise<SettingsSource> {
  const { namespace, onChange, ...deps } = options;
  const place = `ConfigMap ${namespace}/${SETTINGS_CONFIG_MAP}`;
  let state: SettingsState = { settings: DEFAULT_MESH_SETTINGS, problems: [] };
  const read = () => {
    const { objects, problems } = source.current();
    const next = readConfigMap(objects[0]?.object, place, state.settings);
    state = { settings: next.settings, problems: [...problems, ...next.problems] };
  };
  const source = watchCluster({
    ...deps,
    kinds: [{ kind: KINDS.configMap, namespace, fieldSelector: `metadata.name=${SETTINGS_CONFIG_MAP}` }],
    onChange: () => {
      read();
      onChange(state);
    },
  });
  await source.synced;
  read();
  return { place, current: () => state, close: () => source.close() };
}

/** Settings as a ConfigMap has them, over `lastGood`. */
export function readConfigMap(
  object: KubeObject | undefined,
  place: string,
  lastGood: MeshSettings,
): SettingsState {
  const lacks = (message: string): SettingsState => ({
    settings: lastGood,
    problems: [{ severity: 'warning', source: place, line: 1, message }],
  });
  if (object === undefined) return lacks('the ConfigMap is missing: the settings before it stay in force');
  const text = isJsonObject(object.data) ? object.data[SETTINGS_KEY] : undefined;
  if (typeof text !== 'string')
    return lacks(`the ConfigMap has no key ${SETTINGS_KEY}: the settings before it stay in force`);
  return readSettings(text, `${place} ${SETTINGS_KEY}`, lastGood);
}
