import { caClient } from '../common/ca/client.ts';
import { type Credentials, keepIdentity } from '../common/ca/workload-identity.ts';
import type { Clock } from '../common/clock.ts';
import { SYSTEM_NAMESPACE } from '../common/contracts.ts';
import { messageOf } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import type { Random } from '../common/random.ts';
import { spiffeId } from '../common/spiffe.ts';
import { serveAdmission } from './admission/server.ts';
import type { InjectorOptions } from './options.ts';
import { injectPod } from './patch/inject.ts';
import { injectorName } from './patch/webhooks.ts';

export interface InjectorDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface Injector {
  readonly port: number;
  /** Settles with the first certificate; never rejects, since it never gives up. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

/** Starts the webhook with a certificate of the mesh's CA, renewed under it. Rejects where the port can't be had. */
export async function startInjector(options: InjectorOptions, deps: InjectorDeps): Promise<Injector> {
  const { clock, random, log } = deps;
  const { sidecar, revision, tokenFile, rootFile } = options;
  const { controlPlane, trustDomain } = sidecar;
  const server = await serveAdmission({
    ...{ listen: options.listen, port: options.port, clock, log },
    lingerMs: options.shutdownDelayMs,
    decide: (pod, namespace) => injectPod(pod, { ...sidecar, namespace, revision }),
  });
  const request = caClient({
    ...{ controlPlane, trustDomain, tokenFile, rootFile },
    wallMs: () => clock.wallMs(),
  });
  const identity = keepIdentity({
    // The CA adds the webhook's DNS name to certificates of this account.
    uri: spiffeId({ trustDomain, namespace: SYSTEM_NAMESPACE, serviceAccount: injectorName(revision) }),
    requestCertificate: (csrPem) =>
      request(csrPem).catch((thrown: unknown) => {
        server.explain(messageOf(thrown));
        throw thrown;
      }),
    ...{ clock, random, log },
  });
  const ready = new Promise<void>((resolve) => {
    identity.onChange((credentials: Credentials) => {
      server.use(credentials);
      resolve();
    });
  });
  return {
    port: server.port,
    ready,
    async close() {
      identity.close();
      await server.close();
    },
  };
}
