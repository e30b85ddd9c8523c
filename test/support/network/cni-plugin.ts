import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '../../../common/json.ts';

const PLUGIN = fileURLToPath(new URL(`../../../cni/plugin/bin/${process.arch}/heddle-cni`, import.meta.url));

/** Names the attachment of a pod as a container runtime does. */
export interface PluginTarget {
  readonly containerId: string;
  readonly netns: string;
  /** Of the node's agent. */
  readonly socket: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** Executes the CNI plugin as a container runtime does, and keeps the results of ADD for later calls. */
export class CniPlugin {
  readonly #results = new Map<string, JsonObject>();

  /** The addresses that the pod got. */
  async add(
    target: PluginTarget,
    ports: readonly JsonObject[],
    more: JsonObject = {},
  ): Promise<readonly string[]> {
    const mappings = ports.filter((port) => port.hostPort !== undefined).map(mappingOf);
    const text = await this.#call('ADD', target, { runtimeConfig: { portMappings: mappings }, ...more });
    const result = JSON.parse(text) as { ips: { address: string }[] } & JsonObject;
    this.#results.set(target.containerId, result);
    return result.ips.map(({ address }) => address.split('/')[0] ?? '');
  }

  async check(target: PluginTarget): Promise<void> {
    await this.#call('CHECK', target, {});
  }

  async delete(target: PluginTarget): Promise<void> {
    await this.#call('DEL', target, {});
    this.#results.delete(target.containerId);
  }

  async #call(command: string, target: PluginTarget, more: JsonObject): Promise<string> {
    const { containerId, netns, socket, namespace, name, uid } = target;
    const child = spawn(PLUGIN, [], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...{ CNI_COMMAND: command, CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: 'eth0' },
        ...{ CNI_PATH: '/opt/cni/bin' },
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_UID=${uid}`,
      },
    });
    const prevResult = command === 'ADD' ? undefined : this.#results.get(containerId);
    const config = {
      ...{ cniVersion: '1.1.0', name: 'heddle', type: 'heddle-cni', agentSocket: socket },
      ...{
        capabilities: { portMappings: true },
        ...(prevResult === undefined ? {} : { prevResult }),
        ...more,
      },
    };
    child.stdin.end(JSON.stringify(config));
    let out = '';
    child.stdout.on('data', (data: Buffer) => {
      out += data;
    });
    child.stderr.on('data', (data: Buffer) => {
      out += data;
    });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`${command} ${namespace}/${name}: ${out}`);
    return out;
  }
}

function mappingOf({ hostPort, containerPort, protocol = 'TCP', hostIP }: JsonObject): JsonObject {
  return {
    ...{ hostPort, containerPort, protocol: String(protocol).toLowerCase() },
    ...(hostIP === undefined ? {} : { hostIP }),
  };
}
