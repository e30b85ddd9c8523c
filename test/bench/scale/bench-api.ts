import { TOKEN_AUDIENCE } from '../../../common/contracts.ts';
import { isJsonObject, type JsonObject } from '../../../common/json.ts';
import { KINDS, pathOf } from '../../../sources/kubernetes/kinds.ts';
import type { ApiResponse } from '../../../sources/kubernetes/transport.ts';
import { ByteStream } from '../../support/kubernetes/byte-stream.ts';
import { FakeApi } from '../../support/kubernetes/fake-api.ts';
import type { PodPlace } from '../cluster-objects.ts';

const TOKEN_REVIEWS = pathOf(KINDS.tokenReview, undefined);

/** The fake API server, which also reviews tokens as the real one does. */
export class BenchApi extends FakeApi {
  reviews = 0;

  constructor() {
    super([]);
  }

  override async handle(request: Parameters<FakeApi['handle']>[0]): Promise<ApiResponse> {
    if (request.method !== 'POST' || !request.path.startsWith(TOKEN_REVIEWS)) return super.handle(request);
    this.reviews++;
    const sent = JSON.parse(request.body ?? '{}') as JsonObject;
    const token = isJsonObject(sent.spec) ? sent.spec.token : undefined;
    const body = new ByteStream(request.signal);
    body.push(JSON.stringify({ ...sent, metadata: { name: 'review' }, status: verdict(String(token)) }));
    body.end();
    return { status: 201, headers: {}, body };
  }
}

/** A token that only `BenchApi` takes: it says whose it is. */
export function tokenOf({ namespace, name, serviceAccount }: PodPlace, uid: string): string {
  return Buffer.from(JSON.stringify({ namespace, serviceAccount, name, uid })).toString('base64url');
}

function verdict(token: string): JsonObject {
  const { namespace, serviceAccount, name, uid } = JSON.parse(
    Buffer.from(token, 'base64url').toString(),
  ) as Record<string, string>;
  const user = {
    username: `system:serviceaccount:${namespace}:${serviceAccount}`,
    groups: [`system:serviceaccounts:${namespace}`],
    extra: {
      'authentication.kubernetes.io/pod-name': [name ?? ''],
      'authentication.kubernetes.io/pod-uid': [uid ?? ''],
    },
  };
  return { authenticated: true, audiences: [TOKEN_AUDIENCE], user };
}
