import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { usageError } from '../command-line.ts';
import { ALL_KINDS, findKind, KINDS, type Kind } from '../kube/kinds.ts';
import { didYouMean } from '../suggest.ts';

/** The kinds and the name that `pods`, `pod/web`, `pod web` or `all` ask for. */
export function wantedOf(positionals: readonly string[]): {
  kinds: readonly Kind[];
  name: string | undefined;
} {
  const [first = '', second] = positionals;
  const [word = '', slashed] = first.split('/');
  const name = slashed ?? second;
  if (word === '') throw usageError('say which kind, for example "pods"');
  if (slashed !== undefined && second !== undefined) throw usageError('the name is given twice');
  if (word === 'all')
    return { kinds: ALL_KINDS.map((kind) => findKind(kind)).filter((kind) => kind !== undefined), name };
  const kinds = word.split(',').map((part) => {
    const kind = findKind(part);
    if (kind === undefined) throw unknownKind(part);
    return kind;
  });
  return { kinds, name };
}

function unknownKind(word: string): HeddleError {
  const words = KINDS.flatMap((kind) => [kind.plural, kind.singular, ...kind.short]);
  const known = KINDS.map((kind) => kind.plural).join(', ');
  return usageError(`unknown kind "${word}"${didYouMean(word, words)}; known are ${known}`);
}

/** That an object isn't there, with the name that may have been meant and where the same name is found. */
export function notFound(
  kind: Kind,
  name: string,
  namespace: string,
  inForce: readonly KubeObject[],
): HeddleError {
  const sameKind = inForce.filter((object) => object.kind === kind.kind);
  const elsewhere = sameKind.filter((object) => object.metadata.name === name);
  const [other] = elsewhere;
  if (kind.namespaced && other !== undefined) {
    const hint = `namespace ${other.metadata.namespace} has one: -n ${other.metadata.namespace}`;
    return new HeddleError(
      'not-found',
      `${kind.plural} "${name}" not found in namespace ${namespace}; ${hint}`,
    );
  }
  const names = sameKind
    .filter((object) => !kind.namespaced || (object.metadata.namespace ?? 'default') === namespace)
    .map((object) => object.metadata.name);
  const where = kind.namespaced ? ` in namespace ${namespace}` : '';
  return new HeddleError('not-found', `${kind.plural} "${name}" not found${where}${didYouMean(name, names)}`);
}
