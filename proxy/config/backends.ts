import type { Route, RouteAction } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { INVALID_BACKEND_PREFIX } from '../../common/wire/types.ts';
import { editLayers } from '../../model/route/edit-layers.ts';
import type { RouteRule, WeightedBackend } from '../../model/snapshot.ts';
import {
  checkHeaderEdits,
  checkHostRewrite,
  decodeHeaderEdits,
  decodeWholeEdits,
  HEADER_EDIT_FIELDS,
} from './header-edits.ts';
import { ConfigError, onlyFields, Reader } from './reader.ts';

const DEFAULT_ACTION_FIELDS = [
  'clusterSpecifier',
  'clusterNotFoundResponseCode',
  'timeout',
  'idleTimeout',
  'retryPolicy',
  'hashPolicy',
];
const ACTION_FIELDS = [
  ...DEFAULT_ACTION_FIELDS,
  'hostRewriteSpecifier',
  'prefixRewrite',
  'regexRewrite',
  'requestMirrorPolicies',
];
const DEFAULT_CLUSTER_FIELDS = ['name', 'weight'];
const CLUSTER_FIELDS = [...DEFAULT_CLUSTER_FIELDS, 'hostRewriteSpecifier', ...HEADER_EDIT_FIELDS];

/**
 * The backends of a rule. Metadata names each of them and why it is invalid; the weighted clusters that Envoy reads must say
 * the same. Throws `ConfigError`.
 */
export function decodeBackends(route: Route, metadata: Reader, path: string): WeightedBackend[] {
  const { action } = route;
  const said = metadata.field('backends');
  switch (action?.$case) {
    case 'route':
      onlyFields(action.value, ACTION_FIELDS, `${path}.route`);
      return servedBackends(action.value, said, CLUSTER_FIELDS, `${path}.route`, editsAreWhole(metadata));
    case 'redirect': {
      const backends = said.list(unservedBackend);
      if (backends.length > 0) throw new ConfigError(`${path}.redirect`, 'must have no backends beside it');
      return backends;
    }
    case 'directResponse': {
      const backends = said.list(unservedBackend);
      const { status, body } = action.value;
      // The answer to a rule that leads nowhere is made here, so it must be the one that Envoy was told.
      if (status !== 500 || body !== undefined || backends.some(({ weight }) => weight > 0)) {
        throw new ConfigError(
          `${path}.direct_response`,
          'is only supported as 500 without a body, for no backend',
        );
      }
      return backends;
    }
    default:
      throw new ConfigError(`${path}.action`, `"${action?.$case ?? 'none'}" is not supported by this proxy`);
  }
}

/** Whether the metadata says the edits of a rule and its backends whole, as some of them are moved between the two. */
export function editsAreWhole(metadata: Reader): boolean {
  return !metadata.field('edits').absent;
}

/** Refuses fields that don't do what a rule and its backends do one after the other. Throws `ConfigError`. */
export function checkLayers(
  route: Route,
  rule: Pick<RouteRule, 'requestHeaders' | 'responseHeaders' | 'rewrite' | 'backends'>,
  path: string,
): void {
  const { action } = route;
  if (action?.$case !== 'route' || action.value.clusterSpecifier?.$case !== 'weightedClusters') {
    throw new ConfigError(`${path}.action`, 'has no clusters that header edits could be moved to');
  }
  const { ofRule, hostname, ofBackends } = editLayers(rule);
  checkHeaderEdits(route, ofRule, path);
  checkHostRewrite(action.value.hostRewriteSpecifier, ofRule.requestHeaders, hostname, `${path}.route`);
  for (const [index, cluster] of action.value.clusterSpecifier.value.clusters.entries()) {
    const at = `${path}.route.weighted_clusters.clusters[${index}]`;
    const meant = ofBackends[index] ?? { requestHeaders: undefined, responseHeaders: undefined };
    checkHeaderEdits(cluster, meant, at);
    checkHostRewrite(cluster.hostRewriteSpecifier, meant.requestHeaders, undefined, at);
  }
}

/** What serves a destination without rules: its own cluster, and nothing is edited. Throws `ConfigError`. */
export function checkDefaultAction(action: RouteAction, cluster: string, path: string): void {
  onlyFields(action, DEFAULT_ACTION_FIELDS, path);
  const said = new Reader([{ cluster, weight: 1 }], path);
  servedBackends(action, said, DEFAULT_CLUSTER_FIELDS, path, false);
}

function servedBackends(
  action: RouteAction,
  said: Reader,
  fields: readonly string[],
  path: string,
  wholeEdits: boolean,
): WeightedBackend[] {
  if (action.clusterSpecifier?.$case !== 'weightedClusters') {
    throw new ConfigError(`${path}.cluster_specifier`, 'must be weighted_clusters');
  }
  const { clusters } = action.clusterSpecifier.value;
  const differ = () =>
    new ConfigError(`${path}.weighted_clusters`, 'differs from the backends in the metadata');
  const backends = said.list((item, index): WeightedBackend => {
    const cluster = clusters[index];
    const backend = shareOf(item);
    const name = backend.invalid === undefined ? backend.cluster : INVALID_BACKEND_PREFIX + backend.cluster;
    if (cluster === undefined || cluster.name !== name || (cluster.weight ?? 0) !== backend.weight)
      throw differ();
    const at = `${path}.weighted_clusters.clusters[${index}]`;
    onlyFields(cluster, fields, at);
    if (wholeEdits) return { ...backend, ...decodeWholeEdits(item) };
    const edits = decodeHeaderEdits(cluster, item, at);
    checkHostRewrite(cluster.hostRewriteSpecifier, edits.requestHeaders, undefined, at);
    return { ...backend, ...edits };
  });
  if (clusters.length > backends.length) throw differ();
  return backends;
}

/** Envoy has no field for it, so that its edits are in the metadata, too. */
function unservedBackend(item: Reader): WeightedBackend {
  return { ...shareOf(item), ...decodeWholeEdits(item) };
}

function shareOf(item: Reader) {
  return {
    cluster: item.field('cluster').string(),
    weight: item.field('weight').integer(0, 1_000_000),
    invalid: item.field('invalid').optionalString(),
  };
}
