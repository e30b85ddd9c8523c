import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import { destinationKey } from '../../common/names.ts';
import type { Dialer, DialTarget } from '../../common/net.ts';
import { isRead, NOT_FOUND, notAllowed, type PageHandler } from './answer.ts';
import { askApp } from './app-request.ts';

export interface AppScrape {
  readonly target: DialTarget;
  readonly path: string;
}

export interface MetricsPageDeps {
  readonly clock: Clock;
  readonly dialer: Dialer;
  /** The sidecar's own families, in Prometheus' text format. */
  readonly render: () => string;
  /** Undefined where the app has no metrics. */
  readonly app: AppScrape | undefined;
}

/** The app's metrics: how long they may take, and how large they may be. */
export const appScrapeMs = 5_000;
export const appScrapeBytesMax = 8 * 1024 * 1024;

const TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * `/metrics`: the sidecar's own, and the app's behind them, so that one scrape of a port that is never captured gets both.
 * An app that can't be scraped costs its own metrics only; `heddle_app_scrape_up` tells.
 */
export function metricsPage(deps: MetricsPageDeps): PageHandler {
  return async (request) => {
    if (!isRead(request)) return notAllowed('GET', 'HEAD');
    if (request.path !== '/metrics') return NOT_FOUND;
    const { app } = deps;
    if (app === undefined) return { status: 200, type: TYPE, body: deps.render() };
    const scraped = await scrape(deps, app);
    const up = [
      '# HELP heddle_app_scrape_up 1 where the app gave its own metrics.',
      '# TYPE heddle_app_scrape_up gauge',
      `heddle_app_scrape_up ${scraped.ok ? 1 : 0}`,
      '',
    ].join('\n');
    const tail = scraped.ok ? scraped.text : `# the app's metrics are missing: ${oneLine(scraped.why)}\n`;
    return { status: 200, type: TYPE, body: deps.render() + up + tail };
  };
}

type Scraped = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly why: string };

async function scrape({ clock, dialer }: MetricsPageDeps, { target, path }: AppScrape): Promise<Scraped> {
  const timeout = new AbortController();
  const timer = clock.after(appScrapeMs, () =>
    timeout.abort(new Error(`no answer within ${appScrapeMs} ms`)),
  );
  try {
    return { ok: true, text: familiesOf(await get(dialer, target, path, timeout.signal)) };
  } catch (thrown) {
    return {
      ok: false,
      why: timeout.signal.aborted ? `no answer within ${appScrapeMs} ms` : messageOf(thrown),
    };
  } finally {
    timer.cancel();
  }
}

async function get(dialer: Dialer, target: DialTarget, path: string, signal: AbortSignal): Promise<string> {
  const headers = [
    ['host', destinationKey(target.host, target.port)],
    // The text format only: OpenMetrics has an end mark, and what follows it is not read.
    ['accept', 'text/plain;version=0.0.4'],
  ] as const;
  const response = await askApp(dialer, { target, path, headers, tls: false }, signal);
  if (response.statusCode !== 200) {
    response.destroy();
    throw new Error(`the app answered ${response.statusCode}`);
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > appScrapeBytesMax) throw new Error(`more than ${appScrapeBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Whole lines, without the end mark of OpenMetrics, which an app may send all the same. */
function familiesOf(text: string): string {
  const lines = text.replace(/\r\n/g, '\n').replace(/^# EOF\n?$/m, '');
  return lines === '' || lines.endsWith('\n') ? lines : `${lines}\n`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}
