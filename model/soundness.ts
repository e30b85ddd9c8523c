import { isOfKnownVersion } from './kinds.ts';
import type { SourcedObject } from './objects.ts';
import { readTrafficPolicy } from './policies/attach.ts';
import { readMtlsPolicy } from './policies/mtls.ts';
import { readGrant } from './routes/backends.ts';
import { parseHttpRoute } from './routes/http-route.ts';

/**
 * Whether every field of an object that shapes traffic can be used. Sources remember the last version that was, so that a
 * slip in an edit changes nothing but the status. Objects of other kinds are sound.
 */
export function isSound(sourced: SourcedObject): boolean {
  if (!isOfKnownVersion(sourced)) return false;
  switch (sourced.object.kind) {
    case 'HTTPRoute':
      return parseHttpRoute(sourced).errors.length === 0;
    case 'ReferenceGrant':
      return readGrant(sourced).errors.length === 0;
    case 'TrafficPolicy':
      return readTrafficPolicy(sourced).errors.length === 0;
    case 'MTLSPolicy':
      return readMtlsPolicy(sourced).errors.length === 0;
    default:
      return true;
  }
}
