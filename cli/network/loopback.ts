import { createSocket, type Socket } from 'node:dgram';
import { PORTS, SIDECAR } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import type { Dialer } from '../../common/net.ts';
import type { Random } from '../../common/random.ts';
import type { KubeObject } from '../../model/objects.ts';
import { freePort, isFree } from '../local/free-port.ts';
import { type ContainerSpec, podSpecOf } from '../local/pod-spec.ts';
import type { MeshNetwork, NetworkRequest, PodAddresses } from './pod-network.ts';

const NO_PROXY = 'localhost,127.0.0.1';
/** Pods of a node's /24. */
const addressesPerNodeMax = 254;

/** What this kind of network can't do, in sentences for a person. */
export const LOOPBACK_LIMITS: readonly string[] = [
  'outbound calls are meshed where the app honours http_proxy; raw TCP (databases, brokers) goes out as it is, and Service names resolve only through the sidecar',
  'apps must listen on $HOST:$PORT; a second replica of an app with a fixed port is refused',
  'pods share one network: nothing keeps a process from calling 127.0.0.1 or a pod address past its sidecar',
  "NetworkPolicy is not enforced; users, CPU and memory limits of containers aren't either",
];

/** What a sidecar listens on at its pod's address. */
const SIDECAR_PORTS: readonly number[] = [
  PORTS.proxyOutbound,
  PORTS.proxyInbound,
  PORTS.proxyAdminForControlPlane,
  PORTS.proxyMetrics,
  PORTS.proxyHealth,
];

interface Lease {
  readonly ip: string;
  /** Holds the address against other meshes of this machine for as long as this process lives. */
  readonly hold: Socket;
  readonly appPorts: readonly number[];
}

/**
 * Pods as processes with an address of 127.244.0.0/16 each and no namespace: needs no right at all. An injected pod's app
 * listens on 127.0.0.1 at a port of its own and calls out through `http_proxy`; its sidecar stands at the pod's address.
 */
export class LoopbackNetwork implements MeshNetwork {
  readonly name = 'loopback';
  readonly capture = 'http-proxy';
  readonly #random: Random;
  readonly #dialer: Dialer;
  readonly #leases = new Map<string, Lease>();
  readonly #usedPorts = new Map<number, string>();
  readonly #nextHost: number[] = [];

  constructor(random: Random, dialer: Dialer) {
    this.#random = random;
    this.#dialer = dialer;
  }

  async add(request: NetworkRequest): Promise<PodAddresses> {
    const uid = request.pod.metadata.uid ?? '';
    const spec = podSpecOf(request.pod);
    const { ip, hold } = await this.#lease(request.node);
    const env = new Map<string, Readonly<Record<string, string>>>();
    const mapping: string[] = [];
    const appPorts: number[] = [];
    this.#leases.set(uid, { ip, hold, appPorts });
    try {
      for (const container of [...spec.init, ...spec.containers]) {
        if (container.name === SIDECAR.container) continue;
        const ports = await this.#portsOf(request, container, appPorts, ip);
        for (const [index, port] of container.ports.entries()) mapping.push(`${port.port}=${ports[index]}`);
        env.set(container.name, appEnvironment(request.injected, ip, container, ports));
      }
    } catch (thrown) {
      await this.remove(uid);
      throw thrown;
    }
    if (request.injected)
      env.set(SIDECAR.container, { HEDDLE_CAPTURE: 'http-proxy', HEDDLE_CONTAINER_PORTS: mapping.join(',') });
    return { ips: [ip], env };
  }

  async remove(podUid: string): Promise<void> {
    const lease = this.#leases.get(podUid);
    if (lease === undefined) return;
    this.#leases.delete(podUid);
    for (const port of lease.appPorts) this.#usedPorts.delete(port);
    await new Promise<void>((resolve) => lease.hold.close(() => resolve()));
  }

  async check(podUid: string): Promise<string | undefined> {
    return this.#leases.has(podUid) ? undefined : 'the pod has no address';
  }

  hostIps(): readonly string[] {
    return ['127.0.0.1'];
  }

  dialer(): Dialer {
    return this.#dialer;
  }

  async start(): Promise<void> {}

  async ready(): Promise<void> {}

  controlPlaneAddress(): string {
    return '127.0.0.1';
  }

  agentSockets(): readonly string[] {
    return [];
  }

  nodes(): readonly KubeObject[] {
    return [];
  }

  async stop(): Promise<void> {}

  /** The ports that a container's app listens on, in the order of its container ports. */
  async #portsOf(
    request: NetworkRequest,
    container: ContainerSpec,
    appPorts: number[],
    ip: string,
  ): Promise<readonly number[]> {
    if (!request.injected) return container.ports.map((port) => port.port);
    const owner = podName(request.pod);
    const ports: number[] = [];
    for (const port of container.ports) {
      const fixed = fixedPort(container, port.port);
      const chosen = fixed ?? (await freePort(this.#random, this.#usedPorts));
      const holder = this.#usedPorts.get(chosen);
      if (holder !== undefined)
        throw new HeddleError(
          'port-conflict',
          `${owner} fixes its port at ${chosen}, which ${holder} has on this machine already: in loopback mode an app listens on $HOST:$PORT (write $(PORT) in its arguments)`,
        );
      // Taken before it is tried: two pods that try a port at once would take each other for another program.
      this.#usedPorts.set(chosen, owner);
      appPorts.push(chosen);
      if (fixed !== undefined && !(await isFree(fixed)))
        throw new HeddleError(
          'port-conflict',
          `${owner} fixes its port at ${fixed}, which another program on this machine listens on (pod address ${ip}): let the app listen on $HOST:$PORT`,
        );
      ports.push(chosen);
    }
    return ports;
  }

  async #lease(node: number): Promise<{ ip: string; hold: Socket }> {
    for (let tries = 0; tries < addressesPerNodeMax; tries++) {
      const host = (this.#nextHost[node] ?? 0) % addressesPerNodeMax;
      this.#nextHost[node] = host + 1;
      const ip = `127.244.${node}.${host + 1}`;
      const hold = await holdAddress(ip);
      if (hold === undefined) continue;
      // A sidecar of a crashed mesh, or of a test, may still stand at an address that nobody holds.
      const free = await Promise.all(SIDECAR_PORTS.map((port) => isFree(port, ip)));
      if (!free.includes(false)) return { ip, hold };
      await new Promise<void>((resolve) => hold.close(() => resolve()));
    }
    throw new HeddleError('addresses', `all ${addressesPerNodeMax} pod addresses of node ${node} are taken`);
  }
}

/** A UDP socket that nobody sends to: the kernel frees it with the process, however that ends. */
function holdAddress(ip: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => {
      socket.close();
      resolve(undefined);
    });
    socket.bind({ address: ip, port: PORTS.proxyHealth, exclusive: true }, () => {
      socket.unref();
      resolve(socket);
    });
  });
}

/** A port that the manifest itself fixes: by its own `PORT`, or as a number of its own in the command line. */
function fixedPort(container: ContainerSpec, port: number): number | undefined {
  for (const entry of container.env) {
    if (typeof entry === 'object' && entry !== null && 'name' in entry && 'value' in entry) {
      const value = Number(entry.value);
      if (entry.name === 'PORT' && Number.isInteger(value) && value > 0) return value;
    }
  }
  const literal = new RegExp(`(^|[^0-9.])${port}($|[^0-9.])`);
  return [...container.command, ...container.args].some((word) => word.length < 256 && literal.test(word))
    ? port
    : undefined;
}

function appEnvironment(
  injected: boolean,
  ip: string,
  container: ContainerSpec,
  ports: readonly number[],
): Readonly<Record<string, string>> {
  const env: Record<string, string> = { HOST: injected ? '127.0.0.1' : ip };
  for (const [index, port] of container.ports.entries()) {
    const chosen = String(ports[index] ?? port.port);
    if (index === 0) env.PORT = chosen;
    if (port.name !== undefined) env[`PORT_${port.name.toUpperCase().replaceAll('-', '_')}`] = chosen;
  }
  if (!injected) return env;
  const proxy = `http://${ip}:${PORTS.proxyOutbound}`;
  return {
    ...env,
    http_proxy: proxy,
    HTTP_PROXY: proxy,
    no_proxy: NO_PROXY,
    NO_PROXY,
    NODE_USE_ENV_PROXY: '1',
  };
}

function podName(pod: KubeObject): string {
  return `${pod.metadata.namespace ?? 'default'}/${pod.metadata.name}`;
}
