import type { FileLimits } from './limits.ts';

type Path = readonly (string | number)[];

export interface ValueFault {
  readonly path: Path;
  readonly message: string;
}

/**
 * What keeps the plain value of a document from being one of JSON, as every Kubernetes object is, or from being handled
 * with bounded effort; undefined where all is well. Aliases count as often as they stand there.
 */
export function valueFault(value: unknown, limits: FileLimits): ValueFault | undefined {
  let chars = 0;
  const visit = (one: unknown, path: Path): ValueFault | undefined => {
    if (path.length > limits.nestingDepthMax) {
      return { path: path.slice(0, 1), message: `is nested more than ${limits.nestingDepthMax} levels deep` };
    }
    chars += typeof one === 'string' ? one.length : 1;
    if (typeof one === 'number' && !Number.isFinite(one)) {
      return { path, message: `${one} is not a number of JSON` };
    }
    if (typeof one === 'object' && one !== null) {
      if (!Array.isArray(one) && Object.getPrototypeOf(one) !== Object.prototype) {
        return { path, message: 'is of a type that JSON does not have' };
      }
      for (const [key, inner] of Object.entries(one)) {
        if (!Array.isArray(one)) chars += key.length;
        const fault = visit(inner, [...path, Array.isArray(one) ? Number(key) : key]);
        if (fault !== undefined) return fault;
      }
    }
    if (chars <= limits.expandedCharsMax) return undefined;
    const message = `has more than ${limits.expandedCharsMax} characters with its aliases written out`;
    return { path: path.slice(0, 1), message };
  };
  return visit(value, []);
}
