import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import { type Clock, sleep, type Timer } from '../../common/clock.ts';
import { DEFAULT_TRUST_DOMAIN, SYSTEM_NAMESPACE, TOKEN_AUDIENCE } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import type { Random } from '../../common/random.ts';
import { SETTINGS_FILE } from '../../sources/files/scan.ts';
import { numberAt, textAt } from '../kube/fields.ts';
import type { MeshNetwork } from '../network/pod-network.ts';
import type { WebhookAddress } from './admission.ts';
import { bundlesAreFresh, type Program, programFile, SIDECAR_NODE_FLAGS } from './bundles.ts';
import type { Children } from './children.ts';
import { Component } from './component.ts';
import { choosePort, freePort } from './free-port.ts';
import { appliedFolder, type StatePaths } from './state-dir.ts';
import { openTokenIssuer, type TokenIssuer, tokenRenewMs } from './token-issuer.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** From the start of a process to its ports file. */
export const componentStartMs = 30_000;
const pollMs = 20;
/** Starts of a component whose ports turn out to be taken. */
const portTriesMax = 3;

export interface SystemSettings {
  readonly clock: Clock;
  readonly random: Random;
  readonly children: Pick<Children, 'start'>;
  readonly paths: StatePaths;
  readonly manifests: string;
  /** The next free one is taken where somebody else has it; 0 for any. */
  readonly dashboardPort: number;
  /** The Node that runs the mesh's processes. */
  readonly node: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Where sidecars find the control plane, and how they get their traffic. */
  network(): Pick<MeshNetwork, 'controlPlaneAddress' | 'capture' | 'agentSockets'>;
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
  #tokenTimer: Timer | undefined;
  #stopped = false;
  #trustDomain = DEFAULT_TRUST_DOMAIN;
  #bundlesFresh: boolean | undefined;

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
    const portsFile = join(this.#settings.paths.controlPlane, 'ports.json');
    const found = await this.#withFreePorts(portsFile, async () => {
      rmSync(portsFile, { force: true });
      this.#controlPlane = this.#component('control-plane', await this.#controlPlaneFlags(portsFile));
      return this.#controlPlane;
    });
    const port = (key: string) => numberAt(found, key) ?? 0;
    this.#trustDomain = textAt(found, 'trustDomain') ?? DEFAULT_TRUST_DOMAIN;
    this.#ports = {
      ...{ xds: port('xds'), otlpGrpc: port('otlpGrpc'), otlpHttp: port('otlpHttp') },
      ...{ dashboard: port('dashboard'), metrics: port('metrics') },
    };
    return this.#ports;
  }

  /** Ports are chosen here and kept, so that a restarted control plane is found where its proxies look for it. */
  async #controlPlaneFlags(portsFile: string): Promise<readonly string[]> {
    const { paths, manifests, random, dashboardPort } = this.#settings;
    const taken = new Set<number>();
    const port = async () => {
      const chosen = await freePort(random, taken);
      taken.add(chosen);
      return String(chosen);
    };
    return [
      ...['--manifests', manifests, '--manifests', appliedFolder(paths, manifests)],
      ...['--manifests', paths.runtime],
      ...['--settings', join(manifests, SETTINGS_FILE), '--state-dir', paths.controlPlane],
      ...['--listen', this.#settings.network().controlPlaneAddress(), '--dashboard-listen', '127.0.0.1'],
      ...['--xds-port', await port(), '--otlp-grpc-port', await port()],
      ...['--otlp-http-port', await port(), '--metrics-port', await port()],
      ...['--dashboard-port', String(await choosePort(dashboardPort, random))],
      ...['--token-issuer-key', paths.tokenPublicKeyFile, '--ports-file', portsFile],
      ...this.#settings
        .network()
        .agentSockets()
        .flatMap((socket) => ['--node-agent', socket]),
    ];
  }

  async startInjector(): Promise<void> {
    const { clock, paths, random } = this.#settings;
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
    const found = await this.#withFreePorts(portsFile, async () => {
      this.#injector = this.#component('injector', [
        ...['--listen', '127.0.0.1', '--port', String(await freePort(random))],
        ...['--control-plane', this.#at(this.#ports?.xds)],
        ...['--trust-domain', this.#trustDomain, '--capture', this.#settings.network().capture],
        ...['--token-file', tokenFile, '--root-file', this.rootFile, '--ports-file', portsFile],
      ]);
      return this.#injector;
    });
    this.#webhookPort = numberAt(found, 'webhook');
  }

  /** The program that stands for the container `heddle-proxy`. */
  sidecar(): { command: string; args: readonly string[]; env: Readonly<Record<string, string>> } {
    const { node, environment } = this.#settings;
    return {
      command: node,
      args: [...SIDECAR_NODE_FLAGS, this.#program('proxy')],
      env: {
        ...environment,
        HEDDLE_CONTROL_PLANE: this.#at(this.#ports?.xds),
        HEDDLE_OTLP_ENDPOINT: this.#at(this.#ports?.otlpGrpc),
        HEDDLE_TRUST_DOMAIN: this.#trustDomain,
      },
    };
  }

  #at(port = 0): string {
    return `${this.#settings.network().controlPlaneAddress()}:${port}`;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#tokenTimer?.cancel();
    await this.#injector?.stop();
    await this.#controlPlane?.stop();
  }

  /** Decided once: a build in the middle of a run must not mix old programs with new ones. */
  #program(program: Program): string {
    this.#bundlesFresh ??= bundlesAreFresh(ROOT);
    return programFile(ROOT, program, this.#bundlesFresh);
  }

  #component(name: 'control-plane' | 'injector', args: readonly string[]): Component {
    const { clock, children, paths, node, environment, say } = this.#settings;
    if (this.#stopped) throw new HeddleError('stopped', 'the mesh was stopped while it started');
    const entry = this.#program(name);
    if (!existsSync(entry)) throw new HeddleError('component', `${name}: ${entry} is missing`);
    const spec = { name, command: node, args: [entry, ...args], cwd: ROOT, env: environment };
    const component = new Component(clock, children, paths.logs, spec, say);
    component.start();
    return component;
  }

  /** Another process may take a port between its choice and its use: then others are chosen. */
  async #withFreePorts(portsFile: string, start: () => Promise<Component>): Promise<JsonObject> {
    for (let tries = 1; ; tries++) {
      const component = await start();
      try {
        return await this.#portsOf(component, portsFile);
      } catch (thrown) {
        if (tries >= portTriesMax || !/EADDRINUSE|in use/i.test(component.lastOutput)) throw thrown;
        await component.stop();
      }
    }
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
