import type { IncomingMessage } from 'node:http';
import { isLoopback } from '../../common/address.ts';
import { type PageAnswer, text } from './answer.ts';

/**
 * Keeps web pages of others out of the admin port, which a browser on the same machine (or behind a port-forward) can
 * reach: a name of somebody's choosing may resolve to a loopback address (DNS rebinding), and a page may post a form
 * anywhere (CSRF). Tools send neither `Origin` nor `Sec-Fetch-Site`.
 */
export function guardBrowsers(ownHost: string): (request: IncomingMessage) => PageAnswer | undefined {
  return ({ headers }) => {
    if (!isOwnName(headers.host, ownHost)) {
      return text(421, 'the admin pages are served under localhost and loopback addresses only');
    }
    const site = headers['sec-fetch-site'];
    if (site !== undefined && site !== 'none' && site !== 'same-origin') {
      return text(403, 'other web pages may not ask here');
    }
    if (headers.origin !== undefined && headers.origin !== `http://${headers.host}`) {
      return text(403, 'other web pages may not ask here');
    }
    return undefined;
  };
}

function isOwnName(host: string | undefined, ownHost: string): boolean {
  const name = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::\d{1,5})?$/.exec(host ?? '')?.[1]?.toLowerCase();
  if (name === undefined) return false;
  const bare = name.replace(/^\[|\]$/g, '');
  return name === 'localhost' || bare === ownHost || isLoopback(bare);
}
