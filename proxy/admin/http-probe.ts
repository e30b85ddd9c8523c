import type { IncomingMessage } from 'node:http';
import { destinationKey } from '../../common/names.ts';
import type { Dialer, DialTarget } from '../../common/net.ts';
import type { AppProbe } from './app-probe-spec.ts';
import { askApp } from './app-request.ts';

type HttpProbe = AppProbe & { readonly kind: 'http' };

/** Of one probe: the first request, and those that redirects lead to. */
export const probeRequestsMax = 10;
/** What is read of an answer; an answer that breaks off or stalls before that is none. */
export const probeBodyBytesMax = 10 * 1024;

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/**
 * Asks as kubelet does (Kubernetes, pkg/probe/http): redirects are followed while they stay on the host that is probed,
 * whatever the port, and one that leads elsewhere is a healthy answer.
 */
export async function httpProbe(
  dialer: Dialer,
  probe: HttpProbe,
  target: DialTarget,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { named, others } = headersOf(probe);
  const origin = `${probe.tls ? 'https' : 'http'}://${destinationKey(target.host, target.port)}`;
  const probed = new URL(origin);
  let asked = { target, tls: probe.tls, path: requestTarget(probe.path) };
  let url = new URL(origin + asked.path);
  let host = named ?? destinationKey(target.host, target.port);
  for (let requests = 1; ; requests++) {
    const headers = [['host', host] as const, ...others];
    const response = await askApp(dialer, { ...asked, headers }, signal);
    await readSome(response);
    const status = response.statusCode ?? 0;
    const { location = '' } = response.headers;
    const next = REDIRECTS.includes(status) && location !== '' ? URL.parse(location, url) : undefined;
    if (next === null) return 'the app redirects to an address that makes no sense';
    if (next === undefined || next.hostname !== probed.hostname) {
      return status >= 200 && status < 400 ? undefined : `the app answered ${status}`;
    }
    if (next.protocol !== 'http:' && next.protocol !== 'https:')
      return `the app redirects to ${next.protocol}`;
    if (requests === probeRequestsMax) return `the app still redirects after ${probeRequestsMax} requests`;
    const secure = next.protocol === 'https:';
    const port = next.port === '' ? (secure ? 443 : 80) : Number(next.port);
    asked = { target: { ...target, port }, tls: secure, path: next.pathname + next.search };
    // The name that the manifest gave is kept as long as the app names no other.
    host = URL.canParse(location) || named === undefined ? next.host : named;
    url = next;
  }
}

/** The headers of the manifest, all of them and in order, and what kubelet adds; `named` is the host they name. */
function headersOf({ headers }: HttpProbe) {
  const first = (name: string) => headers.find(([each]) => each.toLowerCase() === name)?.[1];
  const agent = first('user-agent') ?? 'kube-probe/heddle';
  const others = headers.filter(([name]) => !OWN.includes(name.toLowerCase()));
  if (agent !== '') others.push(['user-agent', agent]);
  const accept = first('accept');
  if (accept === undefined) others.push(['accept', '*/*']);
  // Given and empty, it isn't sent.
  const kept = accept === '' ? others.filter(([name]) => name.toLowerCase() !== 'accept') : others;
  return { named: first('host') || undefined, others: kept };
}

/** Sent once, as set here, or not at all: what a manifest says of them is Go's client's own business, too. */
const OWN = ['host', 'user-agent', 'connection', 'content-length', 'transfer-encoding', 'trailer'];

/** A manifest's path as a request may have it: what no address can hold is escaped, as Go does. */
function requestTarget(path: string): string {
  const [sent = ''] = path.split('#', 1);
  const mark = sent.indexOf('?');
  const [before, after] = mark < 0 ? [sent, ''] : [sent.slice(0, mark), sent.slice(mark)];
  const escaped = (text: string, foreign: RegExp) => text.toWellFormed().replace(foreign, encodeURIComponent);
  // Go takes what it can't read as an address for a path altogether.
  if (/\p{Cc}/u.test(sent) || /%(?![0-9a-f]{2})/i.test(before)) {
    return escaped(path, /[^\w\-.~!$&'()*+,;=:@[\]/]/gu);
  }
  return escaped(before, /[^\w\-.~!$&'()*+,;=:@[\]/%]/gu) + escaped(after, /[^!-~]/gu);
}

async function readSome(response: IncomingMessage): Promise<void> {
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes >= probeBodyBytesMax) break;
  }
}
