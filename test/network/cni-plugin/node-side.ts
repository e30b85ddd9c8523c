import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type {
  CniAddRequest,
  CniAttachment,
  CniCheckRequest,
  CniDelRequest,
  CniHandler,
  CniResult,
} from '../../../cni/agent/cni/handler.ts';
import { CNI_SERVER_LIMITS, type CniServer, startCniServer } from '../../../cni/agent/cni/server.ts';
import { systemClock } from '../../../common/clock.ts';
import { silentLogger } from '../../../common/log.ts';

export const PLUGIN = fileURLToPath(
  new URL(`../../../cni/plugin/bin/${process.arch}/heddle-cni`, import.meta.url),
);
export const PLUGIN_FOLDER = join(PLUGIN, '..');

/** Remembers what it was asked, and gives addresses as a node would; `before` may hold calls up or refuse them. */
class RecordingHandler implements CniHandler {
  readonly adds: CniAddRequest[] = [];
  readonly dels: CniDelRequest[] = [];
  readonly checks: { readonly request: CniCheckRequest; readonly prevResult: CniResult }[] = [];
  readonly gcs: { readonly network: string; readonly valid: readonly CniAttachment[] }[] = [];
  before: (command: string) => void | Promise<void> = () => {};
  statuses = 0;

  async add(request: CniAddRequest): Promise<CniResult | undefined> {
    this.adds.push(request);
    await this.before('ADD');
    if (request.mode === 'capture') return undefined;
    return {
      interfaces: [
        { name: `h${this.adds.length}`, mac: 'ee:ee:ee:ee:ee:ee', mtu: 1450 },
        { name: request.ifname, mac: '02:00:00:00:00:01', mtu: 1450, sandbox: request.netns },
      ],
      ips: [
        { address: `10.244.1.${this.adds.length + 1}/32`, gateway: '169.254.1.1', interface: 1 },
        { address: `fd10:244:0:1::${this.adds.length + 1}/128`, gateway: 'fe80::1', interface: 1 },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '169.254.1.1' },
        { dst: '::/0', gw: 'fe80::1' },
      ],
    };
  }

  async del(request: CniDelRequest): Promise<void> {
    this.dels.push(request);
    await this.before('DEL');
  }

  async check(request: CniCheckRequest, prevResult: CniResult): Promise<void> {
    this.checks.push({ request, prevResult });
    await this.before('CHECK');
  }

  async gc(network: string, valid: readonly CniAttachment[]): Promise<void> {
    this.gcs.push({ network, valid });
    await this.before('GC');
  }

  async status(): Promise<void> {
    this.statuses++;
    await this.before('STATUS');
  }
}

/** A folder with a socket for an agent, and a file that stands for a pod's namespace. */
export class NodeSide implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'hdlt-d-'));
  readonly socket = join(this.directory, 'run', 'cni.sock');
  readonly deleted = join(this.directory, 'run', 'deleted');
  readonly netns = join(this.directory, 'netns');
  readonly handler = new RecordingHandler();
  #server: CniServer | undefined;

  constructor() {
    writeFileSync(this.netns, '');
  }

  async start(limits: Partial<typeof CNI_SERVER_LIMITS> = {}): Promise<CniServer> {
    this.#server = await startCniServer({
      socket: this.socket,
      handler: this.handler,
      clock: systemClock,
      log: silentLogger,
      limits: { ...CNI_SERVER_LIMITS, ...limits },
    });
    return this.#server;
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }

  config(more: object = {}): string {
    return JSON.stringify({
      cniVersion: '1.1.0',
      name: 'heddle',
      type: 'heddle-cni',
      agentSocket: this.socket,
      ...more,
    });
  }

  environment(command: string, container = 'abc'): Record<string, string> {
    return {
      CNI_COMMAND: command,
      CNI_CONTAINERID: container,
      CNI_NETNS: this.netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: PLUGIN_FOLDER,
      CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u1',
    };
  }

  run(command: string, more: object = {}, container = 'abc'): Promise<PluginRun> {
    return runPlugin(this.environment(command, container), this.config(more));
  }
}

export interface PluginRun {
  readonly exitCode: number | null;
  readonly text: string;
  readonly output: Record<string, unknown>;
}

/** Runs heddle-cni as a runtime does: with these variables and no others. `input` undefined: standard input stays open. */
export async function runPlugin(
  env: Record<string, string>,
  input: string | Buffer | undefined,
  plugin = PLUGIN,
): Promise<PluginRun> {
  const child = spawn(plugin, [], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  // A plugin that refuses early doesn't read all of it.
  child.stdin.on('error', () => {});
  if (input !== undefined) child.stdin.end(input);
  let text = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    text += chunk;
  });
  const [exitCode] = await once(child, 'close');
  child.stdin.destroy();
  return { exitCode: exitCode as number | null, text, output: text === '' ? {} : JSON.parse(text) };
}
