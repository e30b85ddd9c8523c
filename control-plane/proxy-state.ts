import https from 'node:https';
import { messageOf } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import { type SidecarAdmin, type SidecarAdminOptions, sidecarAdmin } from './sidecar-admin.ts';
import type { DecisionStateDump } from './view.ts';

export interface ProxyStateOptions extends SidecarAdminOptions {
  readonly log: Logger;
}

/** A sidecar that doesn't answer by then has no live state to tell. */
const ANSWER_MS = 1_500;
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** Fetches `/breakers` of a pod's sidecar (`namespace/name`) from its read-only admin; undefined where that fails. */
export async function fetchProxyState(
  pod: string,
  options: ProxyStateOptions,
): Promise<DecisionStateDump | undefined> {
  const admin = sidecarAdmin(pod, options);
  if (admin === undefined) return undefined;
  try {
    return JSON.parse(await get(admin)) as DecisionStateDump;
  } catch (thrown) {
    options.log.debug("a sidecar's live state could not be read", { pod, error: messageOf(thrown) });
    return undefined;
  }
}

function get({ tls, ...to }: SidecarAdmin): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.get(
      { ...to, ...tls, path: '/breakers', agent: false, signal: AbortSignal.timeout(ANSWER_MS) },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.byteLength;
          if (bytes > ANSWER_BYTES_MAX) response.destroy(new Error(`more than ${ANSWER_BYTES_MAX} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
          else reject(new Error(`the sidecar answered ${response.statusCode}`));
        });
      },
    );
    request.on('error', reject);
  });
}
