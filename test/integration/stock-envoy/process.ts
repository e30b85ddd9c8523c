import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/wait.ts';
import { certify } from '../control-plane/credentials.ts';
import type { TestMesh } from '../mesh/harness.ts';
import { type PodRecord, podObject } from '../mesh/manifests.ts';
import { askPage, type Page, type PageOptions } from '../mesh/pages.ts';
import { envoyBootstrap, type XdsApi } from './bootstrap.ts';

/** A stock Envoy that plays a pod of the mesh. */
export interface StockEnvoy {
  readonly pod: PodRecord;
  /** A page of Envoy's own admin, parsed. */
  admin(path: string): Promise<unknown>;
  /** One request through its outbound listener, for the given host. */
  request(host: string, path: string, options?: PageOptions): Promise<Page>;
  output(): string;
  stop(): Promise<void>;
}

export interface EnvoyOptions {
  readonly binary: string;
  readonly api: XdsApi;
  readonly pod: PodRecord;
  readonly outbound?: { readonly outboundAddress: string; readonly outboundPort: number };
}

const OUTPUT_BYTES_MAX = 256 * 1024;

/** Gets a certificate by token, as a sidecar does, and starts an Envoy with it. Settles once its admin answers. */
export async function startEnvoy(mesh: TestMesh, options: EnvoyOptions): Promise<StockEnvoy> {
  const { pod, api, binary } = options;
  mesh.apply(`${pod.name}.yaml`, JSON.stringify(podObject(pod)));
  const directory = join(mesh.directory, `envoy-${pod.name}`);
  mkdirSync(directory);
  const file = (name: string) => join(directory, name);
  const files = { chain: file('chain.pem'), key: file('key.pem'), root: file('root.pem') };
  const credentials = await certify(mesh, pod);
  writeFileSync(files.key, credentials.privateKeyPem, { mode: 0o600 });
  writeFileSync(files.chain, credentials.certificateChainPem);
  writeFileSync(files.root, credentials.rootsPem);
  const outbound = options.outbound ?? { outboundAddress: '127.0.0.1', outboundPort: 0 };
  const bootstrap = envoyBootstrap({ api, pod, xdsPort: mesh.ports().xds, outbound, files });
  writeFileSync(file('bootstrap.json'), JSON.stringify(bootstrap));
  const args = ['--disable-hot-restart', '--concurrency', '1', '--log-level', 'warn'];
  const child = spawn(
    binary,
    ['-c', file('bootstrap.json'), '--admin-address-path', file('admin'), ...args],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let text = '';
  const keep = (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-OUTPUT_BYTES_MAX);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const closed = once(child, 'close');
  await eventually(
    () => {
      if (child.exitCode !== null) throw new Error(`Envoy ended: ${text}`);
      return existsSync(file('admin')) && readFileSync(file('admin'), 'utf8').includes(':');
    },
    { deadlineMs: 20_000, what: "Envoy's admin listens" },
  );
  const adminAddress = readFileSync(file('admin'), 'utf8').trim();
  const admin = async (path: string): Promise<unknown> => {
    const { body } = await askPage(`http://${adminAddress}${path}`);
    // Asked for a section that it doesn't have yet, Envoy answers with a sentence about field masks.
    return body.startsWith('{') ? JSON.parse(body) : {};
  };
  return {
    pod,
    admin,
    request: async (host, path, { headers, ...rest } = {}) =>
      askPage(`http://127.0.0.1:${await outboundPort(admin)}${path}`, {
        ...rest,
        headers: { ...headers, host },
      }),
    output: () => text,
    async stop() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

interface ListenersPage {
  readonly listener_statuses?: readonly {
    readonly local_address?: { readonly socket_address?: { readonly port_value?: number } };
  }[];
}

/** Where the outbound listener that came by xDS is; rejects while there is none. */
async function outboundPort(admin: StockEnvoy['admin']): Promise<number> {
  const page = (await admin('/listeners?format=json')) as ListenersPage;
  const port = page.listener_statuses?.[0]?.local_address?.socket_address?.port_value;
  if (port === undefined) throw new Error('Envoy has no listener yet');
  return port;
}
