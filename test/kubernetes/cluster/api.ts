import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';

const ANSWER_TIMEOUT_MS = 5_000;

/** What `up` asks of the API server, by the administrator's certificate; undefined while nothing answers. */
export function apiGet(
  pki: string,
  port: number,
  path: string,
): Promise<{ readonly status: number; readonly body: string } | undefined> {
  const read = (file: string) => readFileSync(join(pki, file));
  const credentials = { ca: read('ca.crt'), cert: read('admin.crt'), key: read('admin.key') };
  return new Promise((resolve) => {
    const call = request({
      host: '127.0.0.1',
      port,
      path,
      agent: false,
      timeout: ANSWER_TIMEOUT_MS,
      ...credentials,
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(undefined));
    call.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', () => resolve(undefined));
    });
    call.end();
  });
}
