import https from 'node:https';
import { PORTS } from '../common/contracts.ts';
import { messageOf } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import { spiffeId } from '../common/spiffe.ts';
import type { Mesh } from '../model/mesh.ts';
import type { DecisionStateDump } from './view.ts';

export interface ProxyStateOptions {
  readonly mesh: () => Mesh;
  readonly trustBundlePem: () => string;
  /** The control plane's own certificate: sidecars answer nobody else. */
  readonly own: () => { readonly certificatePem: string; readonly privateKeyPem: string };
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
  const mesh = options.mesh();
  const workload = mesh.workloads.get(pod);
  const ip = workload?.ips[0];
  if (workload === undefined || ip === undefined || !workload.meshed) return undefined;
  const { namespace, serviceAccount } = workload;
  const { trustDomain } = mesh.settings;
  const expected = spiffeId({ trustDomain, namespace, serviceAccount });
  try {
    return JSON.parse(await get(ip, expected, options)) as DecisionStateDump;
  } catch (thrown) {
    options.log.debug("a sidecar's live state could not be read", { pod, error: messageOf(thrown) });
    return undefined;
  }
}

function get(ip: string, expected: string, { trustBundlePem, own }: ProxyStateOptions): Promise<string> {
  const { certificatePem, privateKeyPem } = own();
  return new Promise((resolve, reject) => {
    const request = https.get(
      {
        ...{ host: ip, port: PORTS.proxyAdminForControlPlane, path: '/breakers', agent: false },
        ...{ ca: trustBundlePem(), cert: certificatePem, key: privateKeyPem, minVersion: 'TLSv1.3' },
        signal: AbortSignal.timeout(ANSWER_MS),
        // The chain is verified by TLS before this runs; a SPIFFE ID takes the place of the host name.
        checkServerIdentity: (_host, certificate) =>
          certificate.subjectaltname === `URI:${expected}`
            ? undefined
            : new Error(`the sidecar must present ${expected}`),
      },
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
