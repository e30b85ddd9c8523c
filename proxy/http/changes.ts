import type { Forward } from '../../model/decision-types.ts';
import { rewrittenPath } from '../../model/route/rewrite.ts';
import type { HeaderEdit } from '../../model/snapshot.ts';
import type { RequestHead } from '../codec/request-head.ts';
import { type RequestChanges, setsHost } from './heads.ts';

/**
 * What a rule and its backend change of a request; undefined for nothing, which most do. The rule's edits come before the
 * backend's. A copy for a mirror goes out as its original does, the edits of the backend included, as Envoy sends it.
 * X-Forwarded-Host isn't written: the Gateway API doesn't ask for it, and Envoy doesn't by default.
 */
export function requestChanges(decision: Forward | undefined, head: RequestHead): RequestChanges | undefined {
  const rule = decision?.rule;
  if (decision === undefined || rule === undefined) return undefined;
  const { rewrite, requestHeaders } = rule;
  const ofBackend = decision.backend?.requestHeaders;
  if (rewrite === undefined && requestHeaders === undefined && ofBackend === undefined) return undefined;
  return {
    target: rewrittenTarget(decision, head),
    authority: ofBackend !== undefined && setsHost(ofBackend) ? undefined : rewrite?.hostname,
    edits: editList(requestHeaders, ofBackend) ?? [],
  };
}

/** Edits of the response, the rule's before the backend's; undefined for none. */
export function responseEdits(decision: Forward | undefined): readonly HeaderEdit[] | undefined {
  return editList(decision?.rule?.responseHeaders, decision?.backend?.responseHeaders);
}

function editList(
  ofRule: HeaderEdit | undefined,
  ofBackend: HeaderEdit | undefined,
): readonly HeaderEdit[] | undefined {
  if (ofRule === undefined) return ofBackend === undefined ? undefined : [ofBackend];
  return ofBackend === undefined ? [ofRule] : [ofRule, ofBackend];
}

/** `*` and the authority of a CONNECT are no paths, so that they stay as they are. */
function rewrittenTarget({ rule, match }: Forward, head: RequestHead): string | undefined {
  const path = rule?.rewrite?.path;
  if (path === undefined || match === undefined || !head.path.startsWith('/')) return undefined;
  // The query as it came, an empty one with its question mark.
  return rewrittenPath(head.path, path, match) + head.target.slice(head.path.length);
}
