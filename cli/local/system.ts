import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import { type Clock, sleep } from '../../common/clock.ts';
import { DEFAULT_TRUST_DOMAIN, SYSTEM_NAMESPACE, TOKEN_AUDIENCE } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import { numberAt, textAt } from '../kube/fields.ts';
import type { WebhookAddress } from './admission.ts';
import type { Children } from './children.ts';
import { Component } from './component.ts';
import { freePort } from './free-port.ts';
import type { StatePaths } from './state-dir.ts';
import { openTokenIssuer, type TokenIssuer, tokenRenewMs } from './token-issuer.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** From the start of a process to its ports file. */
export const componentStartMs = 30_000;
const pollMs = 20;

export interface SystemSettings {
  readonly clock: Clock;
  readonly children: Children;
  readonly paths: StatePaths;
  readonly manifests: string;
  readonly dashboardPort: number;
  /** The Node that runs the mesh's processes. */
  readonly node: string;
  readonly environment: Readonly<Record<string, string>>;
  say(line: string): void;
}

export interface SystemPorts {
  readonly xds: number;
  readonly otlpGrpc: number;
  readonly otlpHttp: number;
  readonly dashboard: number;
  readonly metrics: number;
}

/** The mesh's own processes, and the API server's part in identity. */
export class System {
  readonly issuer: TokenIssuer;
  readonly rootFile: string;
  readonly #settings: SystemSettings;
  #controlPlane: Component | undefined;
  #injector: Component | undefined;
  #ports: SystemPorts | undefined;
  #webhookPort: number | undefined;
  #tokenTimer: { cancel(): void } | undefined;
  #trustDomain = DEFAULT_TRUST_DOMAIN;

  constructor(settings: SystemSettings) {
    this.#settings = settings;
    this.issuer = openTokenIssuer(settings.clock, settings.paths.tokenKeyFile);
    writeFileSync(settings.paths.tokenPublicKeyFile, this.issuer.publicKeyPem, { mode: 0o600 });
    this.rootFile = join(settings.paths.controlPlane, 'root.pem');
  }

  get ports(): SystemPorts | undefined {
    return this.#ports;
  }

  /** Where the webhook is, or undefined before the injector runs. */
  webhook(): WebhookAddress | undefined {
    const rootPem = readIfThere(this.rootFile);
    if (this.#webhookPort === undefined || rootPem === undefined) return undefined;
    return { port: this.#webhookPort, rootPem };
  }

  async startControlPlane(): Promise<SystemPorts> {
    const { paths, manifests } = this.#settings;
    const portsFile = join(paths.controlPlane, 'ports.json');
    rmSync(portsFile, { force: true });
    // Chosen here and kept, so that a restarted control plane is found where its proxies look for it.
    const wanted = {
      xds: await freePort(),
      grpc: await freePort(),
      http: await freePort(),
      metrics: await freePort(),
    };
    const settingsFile = join(manifests, 'mesh.yaml');
    this.#controlPlane = this.#component('control-plane', [
      ...['--manifests', manifests, '--manifests', paths.applied, '--manifests', paths.runtime],
      ...['--settings', settingsFile, '--state-dir', paths.controlPlane, '--listen', '127.0.0.1'],
      ...['--xds-port', String(wanted.xds), '--otlp-grpc-port', String(wanted.grpc)],
      ...['--otlp-http-port', String(wanted.http), '--metrics-port', String(wanted.metrics)],
      ...['--dashboard-port', String(this.#settings.dashboardPort)],
      ...['--token-issuer-key', paths.tokenPublicKeyFile, '--ports-file', portsFile],
    ]);
    const found = await this.#portsOf(this.#controlPlane, portsFile);
    const port = (key: string) => numberAt(found, key) ?? 0;
    this.#trustDomain = textAt(found, 'trustDomain') ?? DEFAULT_TRUST_DOMAIN;
    this.#ports = {
      ...{ xds: port('xds'), otlpGrpc: port('otlpGrpc'), otlpHttp: port('otlpHttp') },
      ...{ dashboard: port('dashboard'), metrics: port('metrics') },
    };
    return this.#ports;
  }

  async startInjector(): Promise<void> {
    const { clock, paths } = this.#settings;
    const directory = join(paths.pods, 'heddle-injector');
    const tokenFile = join(directory, 'token');
    const portsFile = join(directory, 'ports.json');
    const writeToken = () => {
      const subject = { namespace: SYSTEM_NAMESPACE, serviceAccount: 'heddle-injector' };
      const pod = { podName: 'heddle-injector', podUid: 'heddle-injector' };
      writeAtomically(tokenFile, this.issuer.issue({ ...subject, ...pod }, TOKEN_AUDIENCE));
    };
    writeToken();
    this.#tokenTimer = clock.every(tokenRenewMs, writeToken);
    this.#injector = this.#component('injector', [
      ...['--listen', '127.0.0.1', '--port', String(await freePort())],
      ...['--control-plane', `127.0.0.1:${this.#ports?.xds ?? 0}`],
      ...['--trust-domain', this.#trustDomain, '--capture', 'http-proxy'],
      ...['--token-file', tokenFile, '--root-file', this.rootFile, '--ports-file', portsFile],
    ]);
    this.#webhookPort = numberAt(await this.#portsOf(this.#injector, portsFile), 'webhook');
  }

  /** The program that stands for the container `heddle-proxy`. */
  sidecar(): { command: string; args: readonly string[]; env: Readonly<Record<string, string>> } {
    return {
      command: this.#settings.node,
      args: [entryFile('proxy')],
      env: {
        HEDDLE_CONTROL_PLANE: `127.0.0.1:${this.#ports?.xds ?? 0}`,
        HEDDLE_OTLP_ENDPOINT: `127.0.0.1:${this.#ports?.otlpGrpc ?? 0}`,
        HEDDLE_TRUST_DOMAIN: this.#trustDomain,
        HEDDLE_ROOT_FILE: this.rootFile,
      },
    };
  }

  async stop(): Promise<void> {
    this.#tokenTimer?.cancel();
    await this.#injector?.stop();
    await this.#controlPlane?.stop();
  }

  #component(name: 'control-plane' | 'injector', args: readonly string[]): Component {
    const { clock, children, paths, node, environment, say } = this.#settings;
    const entry = entryFile(name);
    if (!existsSync(entry)) throw new HeddleError('component', `${name}: ${entry} is missing`);
    const spec = { name, command: node, args: [entry, ...args], cwd: ROOT, env: environment };
    const component = new Component(clock, children, paths.logs, spec, say);
    component.start();
    return component;
  }

  async #portsOf(component: Component, file: string): Promise<JsonObject> {
    const { clock, paths } = this.#settings;
    const endMs = clock.now() + componentStartMs;
    for (;;) {
      const text = readIfThere(file);
      const parsed: unknown = text === undefined ? undefined : JSON.parse(text);
      if (isJsonObject(parsed)) return parsed;
      if (clock.now() > endMs || !component.running)
        throw new HeddleError(
          'component',
          `${component.name} did not start: ${component.lastOutput.trim().split('\n').slice(-5).join('\n  ') || 'it printed nothing'}\n  (log: ${paths.logs}/heddle-system/${component.name}.log)`,
        );
      await sleep(clock, pollMs);
    }
  }
}

function entryFile(room: 'control-plane' | 'injector' | 'proxy'): string {
  return join(ROOT, room, 'main.ts');
}
