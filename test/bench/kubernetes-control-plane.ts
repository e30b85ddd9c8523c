import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Program, startProgram } from './processes.ts';

const READY_MS_MAX = 120_000;

export interface ClusterControlPlaneOptions {
  /** Main module of the control plane: of a release bundle, or its source. */
  readonly program: string;
  /** URL of the API server. */
  readonly server: string;
  readonly seat: number | undefined;
  /** 0: any free one. */
  readonly xdsPort: number;
  /** Of Node itself. */
  readonly nodeArgs?: readonly string[];
}

export interface ClusterControlPlane extends Program {
  readonly xdsPort: number;
  /** How long it took until every port was open. Milliseconds. */
  readonly readyMs: number;
}

/** Starts a control plane that follows an API server; settles once it is ready. */
export async function startClusterControlPlane(
  options: ClusterControlPlaneOptions,
): Promise<ClusterControlPlane> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bench-cluster-'));
  const file = (name: string) => join(folder, name);
  const cluster = { server: options.server, 'insecure-skip-tls-verify': true };
  writeFileSync(
    file('kubeconfig'),
    JSON.stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c' },
      ...{ clusters: [{ name: 'c', cluster }], users: [{ name: 'u', user: { token: 't' } }] },
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    }),
  );
  const others = ['otlp-grpc', 'otlp-http', 'dashboard', 'metrics'].flatMap((name) => [
    `--${name}-port`,
    '0',
  ]);
  const startMs = performance.now();
  const program = await startProgram(
    process.execPath,
    [
      ...(options.nodeArgs ?? []),
      ...[options.program, '--kubernetes', '--kubeconfig', file('kubeconfig'), '--state-dir', folder],
      ...['--ports-file', file('ports'), '--log-level', 'warn', '--xds-port', String(options.xdsPort)],
      ...others,
    ],
    { seat: options.seat, readyMsMax: READY_MS_MAX, ready: () => textOf(file('ports')) !== '' },
  ).catch((thrown: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw thrown;
  });
  const { xds } = JSON.parse(textOf(file('ports'))) as { readonly xds: number };
  return {
    ...program,
    ...{ xdsPort: xds, readyMs: performance.now() - startMs },
    async stop() {
      await program.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Not written yet.
    return '';
  }
}
