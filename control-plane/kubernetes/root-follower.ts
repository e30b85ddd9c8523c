import type { Clock, Timer } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Problem } from '../../model/objects.ts';
import { type ObjectRef, orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { type ChangeableAuthority, normalPem } from '../ca/authority.ts';
import type { ClusterApi } from './api.ts';
import { besidesOf, nameOf, type RootSecret, readRootSecret } from './root-secret.ts';

/** How soon a change of the Secret is seen: rotations take minutes, and no right to watch Secrets is needed. */
export const rootLookMs = 10_000;

export interface RootFollowerOptions {
  readonly api: ClusterApi;
  readonly ref: Required<ObjectRef>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly authority: ChangeableAuthority;
  readonly first: RootSecret;
}

export interface RootFollower {
  readonly ref: Required<ObjectRef>;
  current(): RootSecret;
  problems(): readonly Problem[];
  /** Looks at once. */
  look(): Promise<void>;
  close(): void;
}

/**
 * Follows the Secret: takes in roots that are to be trusted, and signs by another root once it stands there, if it was
 * trusted before. A root that nobody trusts yet would cut every workload off: it is not used, and that is said.
 */
export function followRootSecret(options: RootFollowerOptions): RootFollower {
  const { api, ref, clock, log, authority } = options;
  let current = options.first;
  let seen = current.resourceVersion;
  let problem: Problem | undefined;
  let timer: Timer | undefined;
  let closed = false;

  const tell = (message: string) => {
    const object = `Secret ${nameOf(ref)}`;
    if (problem?.message !== message) log.error(message, { object });
    problem = { severity: 'error', source: 'kubernetes', line: 1, object, message };
  };
  const take = (root: RootSecret) => {
    const trusted = authority.trustBundlePem();
    if (!trusted.includes(normalPem(root.issuer.certificatePem))) {
      tell(
        'tls.crt was replaced by a root that nobody trusts yet; the old one is still used. Put the old pair back as ' +
          'tls.crt and tls.key and the new one beside it as next.crt and next.key: it takes over once every proxy trusts it',
      );
      return;
    }
    authority.change(root.issuer, besidesOf(root));
    current = root;
    problem = undefined;
    log.info('the roots changed', { secret: nameOf(ref), next: root.next !== undefined });
  };
  const look = async () => {
    let found: Awaited<ReturnType<ClusterApi['get']>> | undefined;
    try {
      found = await orMissing(api.get(KINDS.secret, ref));
    } catch (thrown) {
      log.debug('the root could not be looked at', { error: messageOf(thrown) });
      return;
    }
    if (closed || found?.metadata.resourceVersion === seen) return;
    seen = found?.metadata.resourceVersion ?? '';
    if (found === undefined) {
      tell(
        'the Secret is gone: restore it, or a control plane that starts anew makes a root that nobody trusts',
      );
      return;
    }
    try {
      take(readRootSecret(found, clock));
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      tell(`the roots can't be used, those of before are: ${thrown.message}`);
    }
  };
  const again = () => {
    if (closed) return;
    timer = clock.after(rootLookMs, () => void look().finally(again), { background: true });
  };
  again();
  return {
    ref,
    current: () => current,
    problems: () => (problem === undefined ? [] : [problem]),
    look,
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}
