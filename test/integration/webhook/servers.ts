import {
  type Credentials,
  keepIdentity,
  type WorkloadIdentity,
} from '../../../common/ca/workload-identity.ts';
import { systemClock } from '../../../common/clock.ts';
import { jsonLogger, silentLogger } from '../../../common/log.ts';
import { systemRandom } from '../../../common/random.ts';
import type { AdmissionLimits } from '../../../injector/admission/limits.ts';
import { type AdmissionServer, serveAdmission } from '../../../injector/admission/server.ts';
import { injectPod } from '../../../injector/patch/inject.ts';
import { INJECTION_OPTIONS } from '../../support/injection-cases.ts';
import { type MeshCa, meshCa } from '../../support/mesh-ca.ts';
import { WEBHOOK_NAME } from './caller.ts';

const URI = 'spiffe://cluster.local/ns/heddle-system/sa/heddle-injector';
const HOUR_MS = 3_600_000;

interface ServerOptions {
  readonly lingerMs?: number;
}

/** Webhooks within a test's own process, and the CA that certifies them. */
export interface WebhookServers {
  readonly ca: MeshCa;
  /** What they have logged. */
  readonly lines: string[];
  /** Without a certificate. */
  listen(options?: ServerOptions): Promise<AdmissionServer>;
  start(options?: ServerOptions): Promise<AdmissionServer>;
  /** Certificates that live for `ttlMs`, renewed until it is closed. */
  identity(ttlMs: number): WorkloadIdentity;
  newCredentials(): Promise<Credentials>;
  close(): Promise<void>;
}

export function webhookServers(limits: Partial<AdmissionLimits> = {}): WebhookServers {
  const ca = meshCa(systemClock);
  const lines: string[] = [];
  const started: AdmissionServer[] = [];
  const identity = (ttlMs: number) =>
    keepIdentity({
      ...{ uri: URI, clock: systemClock, random: systemRandom, log: silentLogger },
      requestCertificate: ca.requester(URI, ttlMs, [WEBHOOK_NAME]),
    });
  const newCredentials = () =>
    new Promise<Credentials>((resolve) => {
      const one = identity(HOUR_MS);
      one.onChange((credentials) => {
        one.close();
        resolve(credentials);
      });
    });
  const listen = async (options: ServerOptions = {}) => {
    const server = await serveAdmission({
      ...options,
      ...{ listen: '127.0.0.1', port: 0, clock: systemClock, limits },
      log: jsonLogger(systemClock, (line) => lines.push(line), 'debug'),
      decide: (pod, namespace) => injectPod(pod, { ...INJECTION_OPTIONS, namespace }),
    });
    started.push(server);
    return server;
  };
  return {
    ...{ ca, lines, listen, identity, newCredentials },
    async start(options) {
      const server = await listen(options);
      server.use(await newCredentials());
      return server;
    },
    async close() {
      await Promise.all(started.map((one) => one.close()));
    },
  };
}
