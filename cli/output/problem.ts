import { isAbsolute, relative } from 'node:path';
import type { Problem } from '../../model/objects.ts';

/** A path as a person in `cwd` would type it: short inside that folder, whole elsewhere. */
export function shownPath(path: string, cwd: string): string {
  if (!isAbsolute(path)) return path;
  const inside = relative(cwd, path);
  return inside === '' || inside.startsWith('..') ? path : inside;
}

/** `route.yaml:7: HTTPRoute shop/catalog: spec.rules[0].matches: …`. */
export function problemLine(problem: Problem, cwd: string): string {
  const subject = problem.object === undefined ? '' : `${problem.object}: `;
  const place = problemPlace(problem);
  const where = place === undefined ? '' : `${shownPath(problem.source, cwd)}${place}: `;
  return `${where}${subject}${problemText(problem)}`;
}

/** `:7` of a file. Objects of an API server have no line: they are named themselves. */
export function problemPlace({ line }: Problem): string | undefined {
  return line === 0 ? undefined : `:${line}`;
}

/** The message with its field in front, once. */
export function problemText({ field, message }: Problem): string {
  return field === undefined || message.startsWith(field) ? message : `${field}: ${message}`;
}
