/**
 * The path that routes are matched against, for every evaluator. Nothing is percent-decoded, so `%2F` is never a slash
 * and `%2e` never a dot; duplicate slashes stay, and so does the case. Dot segments are resolved (RFC 3986, section
 * 5.2.4), so that `/public/../admin` is `/admin` to every rule. An empty path is `/`, and so is `*`, which asks about the
 * server as a whole (RFC 9110, section 9.3.7). The request itself goes on as it came.
 */
export function matchablePath(path: string): string {
  if (path === '' || path === '*') return '/';
  if (!path.includes('/.')) return path;
  const kept: string[] = [];
  const segments = path.split('/');
  const last = segments.length - 1;
  for (const [index, segment] of segments.entries()) {
    if (segment === '..' && kept.length > 1) kept.pop();
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (index === last) kept.push('');
  }
  const resolved = kept.join('/');
  return resolved === '' ? '/' : resolved;
}
