import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { caClient } from '../../../common/ca/client.ts';
import { makeKeyAndRequest } from '../../../common/ca/csr.ts';
import { isJsonObject, type JsonObject } from '../../../common/json.ts';
import { spiffeId } from '../../../common/spiffe.ts';
import { recordOf, textOf } from '../../../model/read/meta.ts';
import type { ControlPlanePorts } from '../../integration/mesh/harness.ts';
import { type HeddleProcess, startProcess } from '../../integration/mesh/processes.ts';
import { eventually } from '../../support/wait.ts';
import type { KubernetesCluster } from './cluster.ts';

const STARTS_MS = 120_000;

export interface Replica {
  readonly name: string;
  readonly ports: ControlPlanePorts;
  readonly process: HeddleProcess;
}

export interface Account {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/**
 * Control planes as processes of this machine, against a real API server, with the rights of their service account and no
 * others.
 */
export class ControlPlanes {
  readonly #cluster: KubernetesCluster;
  readonly #folder = mkdtempSync(join(tmpdir(), 'heddle-control-planes-'));
  readonly #running: HeddleProcess[] = [];
  #kubeconfig: string | undefined;

  constructor(cluster: KubernetesCluster) {
    this.#cluster = cluster;
  }

  async start(name: string): Promise<Replica> {
    this.#kubeconfig ??= await this.#asControlPlane();
    const portsFile = join(this.#folder, `${name}.ports`);
    rmSync(portsFile, { force: true });
    const free = ['xds', 'otlp-grpc', 'otlp-http', 'dashboard', 'metrics'].flatMap((port) => [
      `--${port}-port`,
      '0',
    ]);
    const process = startProcess(
      'control-plane/main.ts',
      [
        ...['--kubernetes', '--kubeconfig', this.#kubeconfig, '--replica', name],
        ...['--state-dir', join(this.#folder, name), '--ports-file', portsFile, ...free],
      ],
      {},
    );
    this.#running.push(process);
    let ports: ControlPlanePorts | undefined;
    await eventually(
      () => {
        if (process.exited()) throw new Error(`the control plane ended: ${process.output()}`);
        try {
          ports = JSON.parse(readFileSync(portsFile, 'utf8')) as ControlPlanePorts;
        } catch {
          return false;
        }
        return true;
      },
      { deadlineMs: STARTS_MS, what: `the control plane ${name} listens` },
    ).catch((thrown: unknown) => {
      throw new Error(`${String(thrown)}; it said: ${process.output()}`);
    });
    if (ports === undefined) throw new Error('there are no ports');
    return { name, ports, process };
  }

  /** A token for the CA, bound to a pod, as kubelet projects it; its file. */
  async tokenFile(pod: string, { namespace, serviceAccount }: Account): Promise<string> {
    const bound = ['--bound-object-kind=Pod', `--bound-object-name=${pod}`];
    const token = await this.#token({ namespace, serviceAccount }, ['--audience=heddle-ca', ...bound]);
    const file = join(this.#folder, `${namespace}-${pod}.token`);
    writeFileSync(file, token);
    return file;
  }

  /** Gets a certificate as a sidecar does: token, CSR, and the roots of its namespace. Rejects where the CA refuses. */
  async certify({ ports }: Replica, tokenFile: string, account: Account) {
    const { csrPem, privateKeyPem } = makeKeyAndRequest(
      spiffeId({ trustDomain: 'cluster.local', ...account }),
    );
    const rootFile = join(this.#folder, 'root.pem');
    writeFileSync(rootFile, await this.roots(account.namespace));
    const chain = await caClient({
      ...{ controlPlane: `127.0.0.1:${ports.xds}`, trustDomain: 'cluster.local', tokenFile, rootFile },
      wallMs: () => Date.now(),
    })(csrPem);
    return { ...chain, privateKeyPem };
  }

  /** What a pod of the namespace mounts as its roots. */
  async roots(namespace: string): Promise<string> {
    const map = await this.#cluster.get(['configmap', 'heddle-trust-bundle', '--namespace', namespace]);
    return textOf(recordOf(map.data)['root.pem']) ?? '';
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map((process) => process.stop()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #token({ namespace, serviceAccount }: Account, more: readonly string[] = []): Promise<string> {
    return this.#cluster.kubectl(['create', 'token', serviceAccount, '--namespace', namespace, ...more]);
  }

  async #asControlPlane(): Promise<string> {
    const account = { namespace: 'heddle-system', serviceAccount: 'heddle-control-plane' };
    const token = await this.#token(account, ['--duration=2h']);
    const config: unknown = JSON.parse(readFileSync(this.#cluster.kubeconfig, 'utf8'));
    const whole: JsonObject = isJsonObject(config) ? config : {};
    const users = [{ name: 'control-plane', user: { token: token.trim() } }];
    const [cluster] = Array.isArray(whole.clusters) ? whole.clusters : [];
    const context = { cluster: recordOf(cluster).name, user: 'control-plane' };
    const file = join(this.#folder, 'kubeconfig');
    const contexts = [{ name: 'control-plane', context }];
    const own = { ...whole, users, contexts, 'current-context': 'control-plane' };
    writeFileSync(file, JSON.stringify(own), { mode: 0o600 });
    return file;
  }
}
