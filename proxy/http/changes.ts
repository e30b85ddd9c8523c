import type { Forward } from '../../model/decision-types.ts';
import { rewrittenPath } from '../../model/route/rewrite.ts';
import type { HeaderEdit } from '../../model/snapshot.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { RequestChanges } from './heads.ts';

/**
 * What a rule and its backend change of a request; undefined for nothing, which most do. The rule's edits come before the
 * backend's. X-Forwarded-Host isn't written: the Gateway API doesn't ask for it, and Envoy doesn't by default.
 */
export function requestChanges(decision: Forward | undefined, head: RequestHead): RequestChanges | undefined {
  return changes(decision, head, decision?.backend?.requestHeaders);
}

/** The same for a copy, which the rule's backends have no part in. */
export function mirrorChanges(decision: Forward, head: RequestHead): RequestChanges | undefined {
  return changes(decision, head, undefined);
}

function changes(
  decision: Forward | undefined,
  head: RequestHead,
  backendEdit: HeaderEdit | undefined,
): RequestChanges | undefined {
  const rule = decision?.rule;
  if (decision === undefined || rule === undefined) return undefined;
  const { rewrite, requestHeaders } = rule;
  if (rewrite === undefined && requestHeaders === undefined && backendEdit === undefined) return undefined;
  return {
    target: rewrittenTarget(decision, head),
    authority: rewrite?.hostname,
    edits: editList(requestHeaders, backendEdit) ?? [],
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
  const rewritten = rewrittenPath(head.path, path, match);
  return head.query === '' ? rewritten : `${rewritten}?${head.query}`;
}
