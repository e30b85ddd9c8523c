import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eventually } from '../../support/wait.ts';

const MAIN = fileURLToPath(new URL('../../../cni/dns/main.ts', import.meta.url));
const START_MS = 20_000;

/** A folder of manifests for one test, removed by `remove`. */
export class ManifestFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'heddle-dns-'));

  write(name: string, objects: readonly object[]): void {
    const items = objects.map((one) => JSON.stringify(one)).join('\n---\n');
    writeFileSync(join(this.path, name), `${items}\n`);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface RunningDns {
  readonly port: number;
  readonly metricsPort: number;
  readonly child: ChildProcess;
  /** Ends it as an operator does; resolves with its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts the DNS process at 127.0.0.1 and waits until it answers. */
export async function startDnsProcess(
  folder: ManifestFolder,
  options: { readonly port?: number; readonly upstreams?: readonly string[] } = {},
): Promise<RunningDns> {
  const portsFile = join(folder.path, `.ports-${process.hrtime.bigint()}`);
  const upstreams = options.upstreams ?? ['127.0.0.1:1'];
  const args = ['--manifests', folder.path, '--listen', '127.0.0.1', '--port', String(options.port ?? 0)];
  const rest = [
    '--metrics-port',
    '0',
    '--ports-file',
    portsFile,
    ...upstreams.flatMap((one) => ['--upstream', one]),
  ];
  const child = spawn(process.execPath, [MAIN, ...args, ...rest], { stdio: 'ignore' });
  const exited = new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code)));
  await eventually(() => existsSync(portsFile), { deadlineMs: START_MS, what: 'the DNS process answers' });
  const ports: { dns: number; metrics: number } = JSON.parse(readFileSync(portsFile, 'utf8'));
  return {
    ...{ port: ports.dns, metricsPort: ports.metrics, child },
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return await exited;
    },
  };
}

/** Runs dig; the answer as it prints it. */
export async function dig(port: number, ...args: readonly string[]): Promise<string> {
  const fixed = ['@127.0.0.1', '-p', String(port), '+time=6', '+tries=1'];
  const { stdout } = await promisify(execFile)('dig', [...fixed, ...args], { timeout: 20_000 });
  return stdout;
}

export function service(namespace: string, name: string, spec: object): object {
  return { apiVersion: 'v1', kind: 'Service', metadata: { namespace, name }, spec };
}

export function endpointSlice(namespace: string, name: string, ports: object[], endpoints: object[]): object {
  const metadata = { namespace, name: `${name}-x`, labels: { 'kubernetes.io/service-name': name } };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata,
    ports,
    endpoints,
  };
}
