import { isIP } from 'node:net';

/** A value of the environment, or the words that finish "NAME …" where it can't be used. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: string };

export type Parse<T> = (text: string) => Parsed<T>;

const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s/]+):(\d{1,5})$/;
export const containerPortsMax = 128;
const PORT_MAX = 65_535;

export interface ContainerPort {
  /** What peers dial at the pod's address. */
  readonly port: number;
  /** Where the app listens, on 127.0.0.1. */
  readonly appPort: number;
}

/** Where the app's own metrics are. */
export interface AppMetrics {
  readonly port: number;
  /** With its slash. */
  readonly path: string;
}

function good<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

function bad(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}

export const anyText: Parse<string> = good;

/** Names go into a SPIFFE ID and a node id, where other characters would say something else. */
export function matching(pattern: RegExp, what: string): Parse<string> {
  return (text) => (pattern.test(text) ? good(text) : bad(`must be ${what}, not "${text}"`));
}

export const hostAndPort: Parse<string> = (text) => {
  const port = Number(HOST_PORT.exec(text)?.[2] ?? 0);
  return isPort(port) ? good(text) : bad(`must be host:port, not "${text}"`);
};

export const ipAddress: Parse<string> = (text) =>
  isIP(text) === 0 ? bad(`must be an IP address, not "${text}"`) : good(text);

export const ipAddresses: Parse<readonly string[]> = (text) => {
  const all = text.split(',').map((one) => one.trim());
  const wrong = all.find((one) => isIP(one) === 0);
  return wrong === undefined ? good(all) : bad(`must be IP addresses with commas between, not "${wrong}"`);
};

export const percentage: Parse<number> = (text) => {
  const value = Number(text);
  return text.trim() !== '' && value >= 0 && value <= 100
    ? good(value)
    : bad(`must be a percentage from 0 to 100, not "${text}"`);
};

export function oneOf<T extends string>(...choices: readonly T[]): Parse<T> {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    return found === undefined ? bad(`must be ${choices.join(' or ')}, not "${text}"`) : good(found);
  };
}

/** `8080=43121,9090=43122`; empty: the pod's containers declare no ports. */
export const containerPorts: Parse<readonly ContainerPort[]> = (text) => {
  const entries = text === '' ? [] : text.split(',');
  const ports: ContainerPort[] = [];
  for (const entry of entries) {
    const match = /^(\d{1,5})=(\d{1,5})$/.exec(entry.trim());
    const port = Number(match?.[1] ?? 0);
    const appPort = Number(match?.[2] ?? 0);
    if (!isPort(port) || !isPort(appPort)) {
      return bad(`must be pairs of container port and app port such as 8080=43121, not "${entry}"`);
    }
    if (ports.some((other) => other.port === port)) return bad(`names container port ${port} twice`);
    ports.push({ port, appPort });
  }
  return ports.length > containerPortsMax ? bad(`may name ${containerPortsMax} ports`) : good(ports);
};

/** `9090/metrics`. */
export const appMetrics: Parse<AppMetrics> = (text) => {
  const match = /^(\d{1,5})(\/[!-~]*)$/.exec(text);
  const port = Number(match?.[1] ?? 0);
  return match?.[2] !== undefined && isPort(port)
    ? good({ port, path: match[2] })
    : bad(`must be a port and a path such as 9090/metrics, not "${text}"`);
};

/** There is one worker: any other number would promise what doesn't happen. */
export const concurrency: Parse<1> = (text) =>
  text === '1' ? good(1) : bad(`must be 1, not "${text}": a sidecar runs one worker`);

export function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= PORT_MAX;
}
