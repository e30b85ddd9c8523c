import { HeddleError } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { listAt, numberAt, textAt } from '../kube/fields.ts';
import { podSpecOf } from '../local/pod-spec.ts';
import type { Host } from './host.ts';

/** The version of the CNI specification that the configuration asks for. */
const CNI_VERSION = '1.1.0';
const INTERFACE = 'eth0';
const pluginTimeoutMs = 45_000;

/** What a plugin is called for: one pod, in one namespace. */
export interface Attachment {
  readonly pod: KubeObject;
  /** The namespace's path. */
  readonly netns: string;
  /** Of the node's agent. */
  readonly agentSocket: string;
}

/** Calls the CNI plugin by exec, as kubelet's runtime does (CNI specification 1.1, section 2). */
export class CniRuntime {
  readonly #host: Host;
  readonly #plugin: string;
  /** Results of ADD, which later calls carry along. */
  readonly #results = new Map<string, JsonObject>();

  constructor(host: Host, plugin: string) {
    this.#host = host;
    this.#plugin = plugin;
  }

  /** Attaches the pod. Returns its addresses; fails with code `cni-<number>`, or `cni` where no plugin ran. */
  async add(attachment: Attachment): Promise<readonly string[]> {
    const text = await this.#call('ADD', attachment);
    const result = parsed(text);
    if (result === undefined) throw new HeddleError('cni', `the CNI plugin printed no result: ${text}`);
    this.#results.set(uidOf(attachment.pod), result);
    return listAt(result, 'ips').flatMap((ip) => {
      const address = textAt(ip, 'address')?.split('/')[0];
      return address === undefined ? [] : [address];
    });
  }

  async check(attachment: Attachment): Promise<void> {
    await this.#call('CHECK', attachment);
  }

  async delete(attachment: Attachment): Promise<void> {
    await this.#call('DEL', attachment);
    this.#results.delete(uidOf(attachment.pod));
  }

  async #call(command: 'ADD' | 'CHECK' | 'DEL', attachment: Attachment): Promise<string> {
    const { pod, netns } = attachment;
    const { namespace = 'default', name } = pod.metadata;
    const uid = uidOf(pod);
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: uid,
      CNI_NETNS: netns,
      CNI_IFNAME: INTERFACE,
      CNI_PATH: this.#plugin.slice(0, this.#plugin.lastIndexOf('/')),
      CNI_ARGS: [
        ...['IgnoreUnknown=1', `K8S_POD_NAMESPACE=${namespace}`, `K8S_POD_NAME=${name}`],
        ...[`K8S_POD_UID=${uid}`, `K8S_POD_INFRA_CONTAINER_ID=${uid}`],
      ].join(';'),
    };
    const input = JSON.stringify(this.#config(command, attachment));
    const ran = await this.#host.run(this.#plugin, [], { env, input, timeoutMs: pluginTimeoutMs });
    if (ran.code === 0) return ran.out;
    throw failure(command, ran.out, ran.err);
  }

  #config(command: string, { pod, agentSocket }: Attachment): JsonObject {
    const previous = command === 'ADD' ? undefined : this.#results.get(uidOf(pod));
    return {
      ...{ cniVersion: CNI_VERSION, name: 'heddle', type: 'heddle-cni', agentSocket },
      capabilities: { portMappings: true },
      runtimeConfig: { portMappings: portMappings(pod) },
      ...(previous === undefined ? {} : { prevResult: previous }),
    };
  }
}

/** The `hostPort`s of a pod in the words of the capability `portMappings` (CNI conventions). */
export function portMappings(pod: KubeObject): JsonValue[] {
  const spec = podSpecOf(pod);
  return [...spec.init.filter((one) => one.sidecar), ...spec.containers].flatMap((container) =>
    container.ports.flatMap(({ port, protocol, hostPort, hostIp }) =>
      hostPort === undefined || hostPort === 0
        ? []
        : [
            {
              ...{ hostPort, containerPort: port, protocol: protocol.toLowerCase() },
              ...(hostIp === undefined || hostIp === '' ? {} : { hostIP: hostIp }),
            },
          ],
    ),
  );
}

function uidOf(pod: KubeObject): string {
  return pod.metadata.uid ?? '';
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A plugin's error (CNI specification 1.1, section 5, "Error"). */
function failure(command: string, out: string, err: string): HeddleError {
  const told = parsed(out);
  const code = numberAt(told ?? {}, 'code');
  const words = [textAt(told ?? {}, 'msg'), textAt(told ?? {}, 'details')].filter(
    (text) => text !== undefined && text !== '',
  );
  const said = words.join(': ') || err.trim() || out.trim() || 'it printed nothing';
  return new HeddleError(code === undefined ? 'cni' : `cni-${code}`, `the pod network's ${command}: ${said}`);
}

/** "Try again later" of the CNI specification's error codes. */
export const CNI_TRY_AGAIN = 'cni-11';
