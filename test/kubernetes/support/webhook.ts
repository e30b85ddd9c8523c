import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server } from '@grpc/grpc-js';
import { readIfThere } from '../../../common/atomic-file.ts';
import { systemClock } from '../../../common/clock.ts';
import { IstioCertificateServiceService } from '../../../common/gen/istio/v1/auth/ca.ts';
import { silentLogger } from '../../../common/log.ts';
import { createAuthority, makeRoot } from '../../../control-plane/ca/authority.ts';
import { Pace } from '../../../control-plane/ca/pace.ts';
import { serverIdentity } from '../../../control-plane/ca/server-credentials.ts';
import { caService } from '../../../control-plane/ca/service.ts';
import { type HeddleProcess, startProcess } from '../../integration/mesh/processes.ts';
import { eventually } from '../../support/wait.ts';

const LEAF_TTL_MS = 3_600_000;
const START_MS = 60_000;

/** The mesh's own CA on a port of this machine, which also certifies the address by which a test's API server calls. */
export interface WebhookCa {
  readonly port: number;
  readonly rootPem: string;
  close(): void;
}

export async function startCa(address: string): Promise<WebhookCa> {
  const root = makeRoot('cluster.local', 10 * LEAF_TTL_MS, systemClock);
  const authority = createAuthority(root, systemClock);
  const common = { trustDomain: 'cluster.local', clock: systemClock, log: silentLogger };
  const identity = serverIdentity({ authority, ttlMs: () => LEAF_TTL_MS, ...common });
  const server = new Server();
  server.addService(
    IstioCertificateServiceService,
    caService({
      authority: { ...authority, issue: (request) => authority.issue({ ...request, ips: [address] }) },
      // The token is the account's name: tokens themselves are tested elsewhere.
      tokens: {
        authenticate: async (token) => ({
          ok: true,
          value: { namespace: 'heddle-system', serviceAccount: token, pod: token },
        }),
      },
      trustDomain: () => 'cluster.local',
      leafTtlMs: () => LEAF_TTL_MS,
      pace: new Pace(systemClock),
      log: silentLogger,
      count: () => undefined,
    }),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${address}:0`, identity.credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    port,
    rootPem: root.certificatePem,
    close() {
      identity.close();
      server.forceShutdown();
    },
  };
}

export interface RunningInjector {
  readonly process: HeddleProcess;
  /** As `clientConfig` of a webhook. */
  readonly clientConfig: { readonly url: string; readonly caBundle: string };
  readonly port: number;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** The real injector of a revision at `address`, once it has its certificate. */
export async function startInjectorProcess(
  ca: WebhookCa,
  address: string,
  options: {
    readonly revision?: string;
    readonly port?: number;
    readonly entry?: string;
    readonly args?: readonly string[];
  } = {},
): Promise<RunningInjector> {
  const { revision = 'default', port = 0, entry = 'injector/main.ts', args = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), 'heddle-injector-'));
  const [tokenFile, rootFile, portsFile] = ['token', 'root.pem', 'ports.json'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  writeFileSync(tokenFile, revision === 'default' ? 'heddle-injector' : `heddle-injector-${revision}`);
  writeFileSync(rootFile, ca.rootPem);
  const process = startProcess(
    entry,
    [
      ...['--listen', address, '--port', String(port), '--control-plane', `${address}:${ca.port}`],
      ...['--token-file', tokenFile, '--root-file', rootFile, '--ports-file', portsFile],
      ...['--revision', revision, '--image', 'heddle-proxy:test', ...args],
    ],
    {},
  );
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    await process.stop(signal);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await eventually(() => process.exited() || readIfThere(portsFile) !== undefined, {
      deadlineMs: START_MS,
      what: 'the injector has a certificate',
    });
    const { webhook } = JSON.parse(readFileSync(portsFile, 'utf8')) as { webhook: number };
    return {
      process,
      port: webhook,
      clientConfig: {
        url: `https://${address}:${webhook}/inject`,
        caBundle: Buffer.from(ca.rootPem).toString('base64'),
      },
      stop,
    };
  } catch (thrown) {
    await stop('SIGKILL');
    throw new Error(`the injector did not start: ${process.output()}`, { cause: thrown });
  }
}
