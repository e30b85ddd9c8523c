/** A request to one of the sidecar's own pages, as far as they look at it. */
export interface PageRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
}

export interface PageAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Runs once the answer is out, or its client gone. */
  readonly afterwards?: () => void;
}

export type PageHandler = (request: PageRequest) => PageAnswer | Promise<PageAnswer>;

export function text(status: number, body: string): PageAnswer {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` };
}

export function json(body: unknown): PageAnswer {
  return { status: 200, type: 'application/json; charset=utf-8', body: `${JSON.stringify(body, null, 2)}\n` };
}

export const NOT_FOUND: PageAnswer = text(404, 'no such page: / lists them');

/** RFC 9110, section 15.5.6: a 405 names what is allowed. */
export function notAllowed(...methods: readonly string[]): PageAnswer {
  return { ...text(405, `use ${methods.join(' or ')} here`), headers: { allow: methods.join(', ') } };
}

export function isRead({ method }: PageRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}
