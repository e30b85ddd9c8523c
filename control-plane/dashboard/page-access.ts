import { isLoopback } from '../../common/address.ts';
import { isJsonObject, type JsonObject, jsonObjectOf } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { tokenBytesMax } from '../ca/token.ts';
import type { ClusterApi } from '../kubernetes/api.ts';
import { HttpError } from './http.ts';
import type { PageAccess, ProxyPage } from './proxy-pages.ts';

/** An API server that doesn't answer by then has said nothing. */
const CALL = { timeoutMs: 5_000 } as const;
const CHALLENGE = { 'www-authenticate': 'Bearer' } as const;

type ReviewApi = Pick<ClusterApi, 'create'>;

/**
 * Who may see sidecars' pages on a dashboard that listens at this address. On loopback whoever reaches it: a person of that
 * machine, or one whom the API server lets port-forward into the pod. Elsewhere whoever brings a token of somebody who may
 * `get pods/proxy` of that pod, which is the right to ask any of its ports; nobody where no API server can say so.
 */
export function pageAccess(listen: string, api: ReviewApi | undefined): PageAccess {
  if (isLoopback(listen)) return async () => undefined;
  if (api === undefined)
    return async () => {
      throw new HttpError(
        403,
        `sidecars' pages are for a dashboard on loopback, and this one listens on ${listen}`,
      );
    };
  return async ({ headers }, page) => {
    const token = tokenOf(headers.authorization);
    const user = await reviewed(api, token);
    await allowed(api, user, page);
  };
}

/** RFC 6750, section 2.1. */
function tokenOf(authorization: string | undefined): string {
  const token = /^Bearer ([A-Za-z0-9\-._~+/]+=*)$/i.exec(authorization ?? '')?.[1];
  if (token === undefined)
    throw new HttpError(
      401,
      'sidecars\' pages need "authorization: Bearer TOKEN" here; or use heddle dashboard',
      CHALLENGE,
    );
  if (token.length > tokenBytesMax)
    throw new HttpError(401, `a token has at most ${tokenBytesMax} bytes`, CHALLENGE);
  return token;
}

/** The `user` of authentication.k8s.io/v1, TokenReview: a token for the API server itself, which is what people have. */
async function reviewed(api: ReviewApi, token: string): Promise<JsonObject> {
  const { status } = await review(api, KINDS.tokenReview, { token });
  const { authenticated, user } = jsonObjectOf(status);
  if (authenticated !== true || !isJsonObject(user) || typeof user.username !== 'string')
    throw new HttpError(401, 'the API server does not know this token', CHALLENGE);
  return user;
}

/** authorization.k8s.io/v1, SubjectAccessReview. */
async function allowed(api: ReviewApi, user: JsonObject, { namespace, pod }: ProxyPage): Promise<void> {
  const { username, uid, groups, extra } = user;
  const resourceAttributes = {
    verb: 'get',
    group: '',
    resource: 'pods',
    subresource: 'proxy',
    namespace,
    name: pod,
  };
  const { status } = await review(api, KINDS.subjectAccessReview, {
    ...{ user: username, uid, groups, extra, resourceAttributes },
  });
  if (jsonObjectOf(status).allowed !== true)
    throw new HttpError(403, `you need the right to get pods/proxy of ${pod} in namespace ${namespace}`);
}

async function review(
  api: ReviewApi,
  kind: (typeof KINDS)['tokenReview' | 'subjectAccessReview'],
  spec: JsonObject,
): Promise<KubeObject> {
  try {
    return await api.create(kind, { apiVersion: kind.apiVersion, kind: kind.kind, metadata: {}, spec }, CALL);
  } catch {
    // The API server's words may quote the token.
    throw new HttpError(503, `the API server could not be asked (${kind.kind}): try again`);
  }
}
