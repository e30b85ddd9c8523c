import type { ServerResponse } from 'node:http';
import type { DropRecord } from '../../../common/pod-network.ts';
import type { DropLog } from '../drops.ts';
import type { DropQuery } from './drop-filter.ts';

/** Records that wait for a reader: all that are kept and as many again. One that is further behind is cut off. */
export const waitingRecordsMax = 20_000;

/**
 * Sends what is kept and then every new record, one JSON object a line, until the reader goes. Returns the function that
 * ends it; `ended` is told once, however it ends.
 */
export function follow(
  log: DropLog,
  query: DropQuery,
  response: ServerResponse,
  ended: (cutOff: boolean) => void,
): () => void {
  const waiting: DropRecord[] = selected(log, query).slice();
  let draining = false;
  const pump = () => {
    draining = false;
    let sent = 0;
    for (const record of waiting) {
      sent++;
      if (!response.write(`${JSON.stringify(record)}\n`)) {
        draining = true;
        response.once('drain', pump);
        break;
      }
    }
    waiting.splice(0, sent);
  };
  const stop = log.subscribe((record) => {
    if (!query.matches(record)) return;
    if (waiting.length >= waitingRecordsMax) {
      end(true);
      response.destroy();
      return;
    }
    waiting.push(record);
    if (!draining) pump();
  });
  let over = false;
  const end = (cutOff: boolean) => {
    if (over) return;
    over = true;
    stop();
    response.off('drain', pump);
    ended(cutOff);
  };
  response.once('close', () => end(false));
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  response.flushHeaders();
  pump();
  return () => {
    end(false);
    response.end();
  };
}

/** Those kept that fit a query, newest last. */
export function selected(log: DropLog, query: DropQuery): readonly DropRecord[] {
  const found = log.records().filter(query.matches);
  return query.tail === undefined ? found : found.slice(found.length - Math.min(query.tail, found.length));
}
