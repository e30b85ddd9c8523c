import { isLogLevel, type Logger } from '../../common/log.ts';
import { isRead, json, notAllowed, type PageHandler, type PageRequest, text } from './answer.ts';
import { index, READ_ONLY_PAGES } from './pages.ts';

/** What an operator in the pod may do to the sidecar. */
export interface AdminActions {
  /** Begins to drain; the process stays. */
  drain(): void;
  /** Drains, then ends the process as SIGTERM does. */
  quit(): void;
}

const LOGGING = {
  path: '/logging?level=debug',
  about: 'debug, info, warn or error (GET /logging: the level in force)',
};
const DRAIN = { path: '/drain', about: "take no new work beyond each connection's next request" };
const QUIT = { path: '/quit', about: 'drain, then end the process' };

/** The admin port's own pages: those that read, and beside them those that act, by POST only. */
export function adminPages(read: PageHandler, actions: AdminActions, log: Logger): PageHandler {
  return (request) => {
    switch (request.path) {
      case '/':
        return isRead(request) ? index(READ_ONLY_PAGES, [LOGGING, DRAIN, QUIT]) : notAllowed('GET', 'HEAD');
      case '/logging':
        return logging(request, log);
      case '/drain':
        return act(request, 'draining', () => actions.drain());
      case '/quit':
        return act(request, 'ending', () => actions.quit());
      default:
        return read(request);
    }
  };
}

/** The pages that change nothing, and the log level in force beside them. */
export function pagesWithLevel(read: PageHandler, log: Logger): PageHandler {
  return (request) =>
    request.path === '/logging' && isRead(request) ? json({ level: log.level() }) : read(request);
}

function logging(request: PageRequest, log: Logger) {
  if (isRead(request)) return json({ level: log.level() });
  if (request.method !== 'POST') return notAllowed('GET', 'POST');
  const level = request.query.get('level') ?? '';
  if (!isLogLevel(level))
    return text(400, 'level must be debug, info, warn or error: POST /logging?level=debug');
  log.setLevel(level);
  return json({ level });
}

/** Done once the answer is out: the process may be gone right after. */
function act(request: PageRequest, what: string, action: () => void) {
  if (request.method !== 'POST') return notAllowed('POST');
  return { ...text(200, what), afterwards: action };
}
