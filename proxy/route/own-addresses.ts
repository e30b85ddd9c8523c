import { BlockList, isIP, isIPv6 } from 'node:net';
import { PORTS } from '../../common/contracts.ts';

/**
 * Ports of a sidecar that no request is carried to: its own listeners, where it would come back, and its admin port,
 * which trusts whoever reaches it. Health and metrics are for everybody.
 */
const CONTROL_PORTS: ReadonlySet<number> = new Set([
  PORTS.proxyAdmin,
  PORTS.proxyOutbound,
  PORTS.proxyInbound,
  PORTS.proxyAdminForControlPlane,
]);

const ANY_ADDRESS: readonly string[] = ['0.0.0.0', '::'];

/** What an app must not be led to by its sidecar: the sidecar. */
export class OwnAddresses {
  readonly #hosts = new BlockList();
  readonly #podAddresses: ReadonlySet<string>;
  readonly #ports = new Set(CONTROL_PORTS);
  /** By port, since hardly any request goes to one of these. */
  readonly #listeners = new Map<number, Set<string>>();

  constructor(podAddresses: readonly string[]) {
    this.#podAddresses = new Set(podAddresses);
    // All of 127.0.0.0/8: where pods share one loopback, the admin ports of the others are there as well.
    this.#hosts.addSubnet('127.0.0.0', 8, 'ipv4');
    for (const address of ['::1', ...ANY_ADDRESS, ...podAddresses]) {
      this.#hosts.addAddress(address, familyOf(address));
    }
  }

  /** Remembers a listener whose connections would be carried back to itself. */
  listensOn(host: string, port: number): void {
    if (ANY_ADDRESS.includes(host)) this.#ports.add(port);
    else this.#listeners.set(port, new Set([...(this.#listeners.get(port) ?? []), host]));
  }

  /** Whether an IP address, in whatever form, and a port are the sidecar's own. A name never is: ask for its address. */
  has(host: string, port: number): boolean {
    if (this.#listeners.get(port)?.has(host) === true) return true;
    return this.#ports.has(port) && isIP(host) !== 0 && this.#hosts.check(host, familyOf(host));
  }

  /** Whether an address as endpoints have it, and a port, are the pod's own but not the sidecar's. */
  isOfPod(host: string, port: number): boolean {
    return this.#podAddresses.has(host) && !this.has(host, port);
  }
}

/** Whether a captured connection that was dialled to `port` of the pod would be handed to the sidecar itself. */
export function isControlPort(port: number): boolean {
  return CONTROL_PORTS.has(port);
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}
