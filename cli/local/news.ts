import type { KubeObject, Problem } from '../../model/objects.ts';
import { objectKey } from '../kube/kinds.ts';
import { problemLine } from '../output/problem.ts';
import { stableJson } from './json-patch.ts';

/** Names listed in one line at most. */
const namesShownMax = 6;

/** What of the manifests changes while the mesh runs, as lines for the person who changes it. */
export class News {
  readonly #cwd: string;
  #objects: ReadonlyMap<string, string> | undefined;
  #problems: ReadonlySet<string> = new Set();

  constructor(cwd: string) {
    this.#cwd = cwd;
  }

  /** One line for what is new, changed or gone since the last call; nothing the first time. */
  changes(objects: readonly KubeObject[]): string | undefined {
    const before = this.#objects;
    const after = new Map(objects.map((object) => [objectKey(object), intentOf(object)]));
    this.#objects = after;
    if (before === undefined) return undefined;
    const added = [...after.keys()].filter((key) => !before.has(key));
    const changed = [...after].filter(([key, text]) => before.has(key) && before.get(key) !== text);
    const removed = [...before.keys()].filter((key) => !after.has(key));
    const parts = [
      list('new', added),
      list(
        'changed',
        changed.map(([key]) => key),
      ),
      list('gone', removed),
    ].filter((part) => part !== '');
    return parts.length === 0 ? undefined : parts.join('; ');
  }

  /** Lines for problems that weren't there before; one that goes and comes again is told again. */
  problems(problems: readonly Problem[]): readonly string[] {
    const lines = new Set(problems.map((problem) => problemLine(problem, this.#cwd)));
    const fresh = [...lines].filter((line) => !this.#problems.has(line));
    this.#problems = lines;
    return fresh;
  }
}

/** What a person wrote of an object. */
function intentOf(object: KubeObject): string {
  const { status: _status, metadata, ...rest } = object;
  const { labels, annotations } = metadata;
  return stableJson({ ...rest, labels, annotations });
}

function list(word: string, keys: readonly string[]): string {
  if (keys.length === 0) return '';
  const names = keys.slice(0, namesShownMax).map((key) => {
    const [kind = '', namespace = '', name = ''] = key.split('/');
    return `${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`;
  });
  const more = keys.length > namesShownMax ? ` and ${keys.length - namesShownMax} more` : '';
  return `${word}: ${names.join(', ')}${more}`;
}
