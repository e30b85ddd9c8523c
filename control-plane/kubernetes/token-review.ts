import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { DEFAULT_TRUST_DOMAIN, TOKEN_AUDIENCE } from '../../common/contracts.ts';
import { HeddleError, messageOf, type Result } from '../../common/errors.ts';
import { type JsonObject, type JsonValue, jsonObjectOf } from '../../common/json.ts';
import { parseSpiffeId, spiffeId } from '../../common/spiffe.ts';
import { type KubeObject, namespacedName, type SourcedObject } from '../../model/objects.ts';
import { orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { refusedToken, type TokenAuthenticator, type TokenIdentity, tokenBytesMax } from '../ca/token.ts';
import { type ClusterApi, failureOf } from './api.ts';

/** How long an answer is used again: a token that was revoked is refused after that. */
export const reviewKeptMs = 5_000;
export const reviewsKeptMax = 4_096;
/** Callers beyond that are told to come back: the API server has others to serve. */
export const reviewsInFlightMax = 64;

/** Well within the time that a sidecar waits for its certificate. */
const CALL = { timeoutMs: 2_000 } as const;

const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';

export interface TokenReviewOptions {
  readonly api: ClusterApi;
  readonly clock: Clock;
  /** A pod as the watch knows it, which may lag behind. */
  readonly pod: (namespace: string, name: string) => KubeObject | undefined;
}

/** Whom the API server says a token belongs to. */
interface Reviewed extends TokenIdentity {
  readonly pod: string;
  readonly podUid: string;
}

interface Kept {
  readonly answer: Promise<Result<Reviewed>>;
  readonly untilMs: number;
}

/**
 * Asks the API server whose token it is (TokenReview), and checks that the pod which it is bound to is there and not
 * finished: a token outlives its pod by up to an hour where only its signature is looked at. An API server that can't
 * be asked gives `token-unchecked`, which says nothing against the token.
 */
export function tokenReviewAuthenticator(options: TokenReviewOptions): TokenAuthenticator {
  const reviews = new Reviews(options);
  return {
    async authenticate(token) {
      if (token.length > tokenBytesMax)
        return refusedToken(`the token is larger than ${tokenBytesMax} bytes`);
      const reviewed = await reviews.of(token);
      return reviewed.ok ? checkPod(reviewed.value, options) : reviewed;
    },
  };
}

/** Answers of the last seconds, by the tokens' hashes: the tokens themselves are kept nowhere. */
class Reviews {
  readonly #options: TokenReviewOptions;
  readonly #kept = new Map<string, Kept>();
  #inFlight = 0;

  constructor(options: TokenReviewOptions) {
    this.#options = options;
  }

  of(token: string): Promise<Result<Reviewed>> {
    const { clock } = this.#options;
    const hash = createHash('sha256').update(token).digest('base64');
    const known = this.#kept.get(hash);
    if (known !== undefined && known.untilMs > clock.now()) return known.answer;
    if (this.#inFlight >= reviewsInFlightMax) {
      return Promise.resolve(unchecked(`${reviewsInFlightMax} tokens are being checked already`));
    }
    this.#inFlight++;
    const answer = review(token, this.#options).finally(() => {
      this.#inFlight--;
    });
    this.#keep(hash, answer);
    return answer;
  }

  #keep(hash: string, answer: Promise<Result<Reviewed>>): void {
    const nowMs = this.#options.clock.now();
    this.#kept.delete(hash);
    // In the order of their ends, so that only the first ones can be over.
    for (const [old, { untilMs }] of this.#kept) {
      if (untilMs > nowMs && this.#kept.size < reviewsKeptMax) break;
      this.#kept.delete(old);
    }
    const kept = { answer, untilMs: nowMs + reviewKeptMs };
    this.#kept.set(hash, kept);
    // What the API server did not say is asked again at once.
    const forget = () => {
      if (this.#kept.get(hash) === kept) this.#kept.delete(hash);
    };
    void answer.then((result) => {
      if (!result.ok && result.error.code !== 'bad-token') forget();
    }, forget);
  }
}

function unchecked(message: string): { ok: false; error: HeddleError } {
  return {
    ok: false,
    error: new HeddleError('token-unchecked', `the token could not be checked, ask again: ${message}`),
  };
}

async function review(token: string, { api }: TokenReviewOptions): Promise<Result<Reviewed>> {
  const { apiVersion, kind } = KINDS.tokenReview;
  const spec = { token, audiences: [TOKEN_AUDIENCE] };
  let answer: KubeObject;
  try {
    answer = await api.create(KINDS.tokenReview, { apiVersion, kind, metadata: {}, spec }, CALL);
  } catch (thrown) {
    // The API server's words may quote what it was sent.
    return unchecked(`TokenReview: ${failureOf(thrown)}`);
  }
  const status = jsonObjectOf(answer.status);
  if (status.authenticated !== true) {
    const error = typeof status.error === 'string' ? withoutToken(status.error, token) : '';
    return refusedToken(`the API server does not accept the token${error === '' ? '' : `: ${error}`}`);
  }
  // An authenticator that knows nothing of audiences accepts any token, and names none.
  if (!textsOf(status.audiences).includes(TOKEN_AUDIENCE)) {
    return refusedToken(`the token's audience must be ${TOKEN_AUDIENCE}`);
  }
  return readUser(jsonObjectOf(status.user));
}

function readUser(user: JsonObject): Result<Reviewed> {
  const username = typeof user.username === 'string' ? user.username : '';
  const [, namespace = '', serviceAccount = ''] =
    /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username) ?? [];
  const id = spiffeId({ trustDomain: DEFAULT_TRUST_DOMAIN, namespace, serviceAccount });
  // The group, too: other authenticators of the API server may give out names, and only its own gives both.
  if (
    parseSpiffeId(id) === undefined ||
    !textsOf(user.groups).includes(`system:serviceaccounts:${namespace}`)
  ) {
    return refusedToken("the token's subject is not a service account");
  }
  const extra = jsonObjectOf(user.extra);
  const [pod] = textsOf(extra[POD_NAME]);
  const [podUid] = textsOf(extra[POD_UID]);
  if (pod === undefined || podUid === undefined) {
    return refusedToken('the token is not bound to a pod: use a projected service-account token');
  }
  return { ok: true, value: { namespace, serviceAccount, pod, podUid } };
}

async function checkPod(reviewed: Reviewed, options: TokenReviewOptions): Promise<Result<TokenIdentity>> {
  const { namespace, serviceAccount, pod, podUid } = reviewed;
  const name = `${namespace}/${pod}`;
  let found = options.pod(namespace, pod);
  if (found?.metadata.uid !== podUid) {
    try {
      found = await orMissing(options.api.get(KINDS.pod, { namespace, name: pod }, CALL));
    } catch (thrown) {
      return unchecked(`pod ${name} could not be looked up: ${messageOf(thrown)}`);
    }
  }
  if (found === undefined) return refusedToken(`the token's pod ${name} is gone`);
  if (found.metadata.uid !== podUid) return refusedToken(`the token is of an earlier pod ${name}`);
  const account = jsonObjectOf(found.spec).serviceAccountName ?? 'default';
  if (account !== serviceAccount) {
    return refusedToken(`pod ${name} does not run as service account ${serviceAccount}`);
  }
  const { phase } = jsonObjectOf(found.status);
  if (phase === 'Succeeded' || phase === 'Failed') return refusedToken(`pod ${name} has finished`);
  return { ok: true, value: { namespace, serviceAccount, pod } };
}

function textsOf(value: JsonValue | undefined): readonly string[] {
  const list: readonly JsonValue[] = Array.isArray(value) ? value : [];
  return list.filter((entry) => typeof entry === 'string');
}

function withoutToken(text: string, token: string): string {
  return text.replaceAll(token, '…').slice(0, 200);
}

/** Finds pods among a source's objects; what a state holds is sorted once. */
export function podIndex(objects: () => readonly SourcedObject[]): TokenReviewOptions['pod'] {
  let sorted: readonly SourcedObject[] | undefined;
  let pods: ReadonlyMap<string, KubeObject> = new Map();
  return (namespace, name) => {
    const current = objects();
    if (current !== sorted) {
      sorted = current;
      const found = current.filter(({ object }) => object.apiVersion === 'v1' && object.kind === 'Pod');
      pods = new Map(found.map(({ object }) => [namespacedName(object), object]));
    }
    return pods.get(`${namespace}/${name}`);
  };
}
