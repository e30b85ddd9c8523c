import { HeddleError, messageOf, type Result } from '../../../common/errors.ts';
import { isJsonObject, type JsonObject } from '../../../common/json.ts';
import { CNI_VERSIONS } from './versions.ts';

/** Name of the plugin's file, and so its `type` in a network configuration. */
export const PLUGIN_TYPE = 'heddle-cni';
const NETWORK_NAME = 'heddle';

/**
 * The version for runtimes that don't know the list `cniVersions` (1.1.0): they would take its newest for granted, and
 * libcni before 1.2 refuses 1.1.0.
 */
const BASE_VERSION = '1.0.0';

/** Heddle's own network: one plugin that makes the interface. `socket` is the agent's. */
export function heddleConflist(socket: string): string {
  return text({
    cniVersion: BASE_VERSION,
    cniVersions: [...CNI_VERSIONS],
    name: NETWORK_NAME,
    plugins: [{ type: PLUGIN_TYPE, agentSocket: socket, capabilities: { portMappings: true } }],
  });
}

/**
 * The network of another CNI with Heddle's capture behind it. `other` is the text of its `.conflist`, or of its `.conf` of
 * a single plugin; all of it stays as it is, only versions that Heddle doesn't know are left out of `cniVersions`.
 */
export function chainedConflist(other: string, socket: string): Result<string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(other);
  } catch (thrown) {
    return refused(`it is no JSON: ${messageOf(thrown)}`);
  }
  if (!isJsonObject(parsed)) return refused('it is no JSON object');
  const single = parsed.plugins === undefined && typeof parsed.type === 'string';
  const list: JsonObject = single
    ? { cniVersion: parsed.cniVersion, name: parsed.name, plugins: [parsed] }
    : parsed;
  const { plugins, name, cniVersion = '0.1.0', cniVersions } = list;
  if (typeof name !== 'string' || name === '') return refused('it has no name');
  if (!Array.isArray(plugins) || plugins.length === 0) return refused('it has no plugins');
  const offered = [cniVersion, ...(Array.isArray(cniVersions) ? cniVersions : [])];
  const common = CNI_VERSIONS.filter((version) => offered.includes(version));
  const newest = common.at(-1);
  if (newest === undefined)
    return refused(`it has none of the versions ${CNI_VERSIONS.join(', ')}, which Heddle speaks`);
  const others = plugins.filter((plugin: unknown) => !isJsonObject(plugin) || plugin.type !== PLUGIN_TYPE);
  const capture = { type: PLUGIN_TYPE, mode: 'capture', agentSocket: socket };
  return {
    ok: true,
    value: text({
      ...list,
      cniVersion: common.includes(BASE_VERSION) ? BASE_VERSION : newest,
      ...(common.length > 1 ? { cniVersions: common } : { cniVersions: undefined }),
      plugins: [...others, capture],
    }),
  };
}

/** Whether a network configuration is one that Heddle wrote. */
export function isHeddleConflist(content: string): boolean {
  try {
    const parsed: unknown = JSON.parse(content);
    if (!isJsonObject(parsed) || !Array.isArray(parsed.plugins)) return false;
    return parsed.plugins.some((plugin: unknown) => isJsonObject(plugin) && plugin.type === PLUGIN_TYPE);
  } catch {
    return false;
  }
}

function text(value: JsonObject): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function refused(why: string): { readonly ok: false; readonly error: HeddleError } {
  return {
    ok: false,
    error: new HeddleError('conflist', `the other network configuration can't be chained: ${why}`),
  };
}
