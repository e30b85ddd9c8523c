import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent, type AgentOptions, type RequestOptions } from 'node:https';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import type { Cluster } from '@kubernetes/client-node/dist/config_types.js';
import type { Clock } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { CREDENTIALS_FRESH_MS } from './limits.ts';

/** What one request carries. */
export interface Access {
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: HttpAgent;
}

/** Which API server, and who we are to it. */
export interface Credentials {
  /** `https://10.96.0.1:443`; may have a path. */
  readonly server: string;
  /** The namespace of whoever we are; undefined where nobody says. */
  readonly namespace: string | undefined;
  /** As they stand now. Rejects with code `kubernetes-credentials`. */
  current(): Promise<Access>;
  /** Read anew at the next request. */
  renew(): void;
  close(): void;
}

/** As a process has it: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are of interest. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where kubelet puts a pod's token, root and namespace. */
const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Dead peers are told by the kernel's own questions once a connection has been idle for this long. */
const KEEP_ALIVE_MS = 30_000;

/**
 * A pod's own credentials: the server of KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, token and root of the files
 * that kubelet renews. `@kubernetes/client-node` isn't loaded for this: it would take 40 MB of every process on every node.
 */
export function podCredentials(
  clock: Clock,
  env: Environment,
  directory: string = SERVICE_ACCOUNT_DIRECTORY,
): Credentials {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (host === undefined || host === '' || port === undefined || port === '') {
    throw wrong(
      'this is no pod (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set): give --kubeconfig FILE',
    );
  }
  const agents = new Agents();
  let known: { readonly access: Access; readonly readAtMs: number } | undefined;
  return {
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    namespace: textIn(join(directory, 'namespace')),
    async current() {
      if (known !== undefined && clock.now() - known.readAtMs < CREDENTIALS_FRESH_MS) return known.access;
      const token = required(join(directory, 'token'));
      const agent = agents.of({ ca: required(join(directory, 'ca.crt')) });
      known = { access: { headers: { authorization: `Bearer ${token}` }, agent }, readAtMs: clock.now() };
      return known.access;
    },
    renew: () => {
      known = undefined;
    },
    close: () => agents.close(),
  };
}

/**
 * Credentials of a kubeconfig, by `@kubernetes/client-node`: client certificates, tokens, exec plugins, OIDC, proxies. The
 * package is loaded when one is asked for.
 */
export async function kubeconfigCredentials(
  clock: Clock,
  file: string,
  context: string | undefined,
): Promise<Credentials> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const load = () => read(new KubeConfig(), file, context);
  const first = load();
  const agents = new Agents();
  let loaded: ReturnType<typeof load> | undefined = first;
  let known: { readonly access: Access; readonly readAtMs: number } | undefined;
  return {
    server: first.cluster.server,
    namespace: first.config.getContextObject(first.config.getCurrentContext())?.namespace,
    async current() {
      if (known !== undefined && clock.now() - known.readAtMs < CREDENTIALS_FRESH_MS) return known.access;
      loaded ??= load();
      const { config, cluster } = loaded;
      const options: RequestOptions = {};
      try {
        await config.applyToHTTPSOptions(options);
      } catch (thrown) {
        throw wrong(`the credentials of ${file} can't be had: ${messageOf(thrown)}`, thrown);
      }
      const { ca, cert, key, rejectUnauthorized, servername, auth } = options;
      // Its own agent keeps no connections, and goes on with the certificate that it was made with.
      const agent =
        cluster.proxyUrl === undefined
          ? agents.of({ ca, cert, key, rejectUnauthorized, servername }, cluster.server)
          : (options.agent as HttpAgent);
      known = { access: { headers: headersOf(options, auth), agent }, readAtMs: clock.now() };
      return known.access;
    },
    renew: () => {
      known = undefined;
      loaded = undefined;
    },
    close: () => agents.close(),
  };
}

/** A kubeconfig with the context that is meant. Rejects with code `kubernetes-credentials`. */
export async function kubeconfigOf(file: string, context: string | undefined): Promise<LoadedConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  return read(new KubeConfig(), file, context);
}

interface LoadedConfig {
  readonly config: KubeConfig;
  readonly cluster: Cluster;
}

function read(config: KubeConfig, file: string, context: string | undefined): LoadedConfig {
  try {
    config.loadFromFile(file);
  } catch (thrown) {
    throw wrong(`the kubeconfig ${file} can't be read: ${messageOf(thrown)}`, thrown);
  }
  if (context !== undefined) config.setCurrentContext(context);
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    const names = config.getContexts().map(({ name }) => name);
    const wanted = context ?? config.getCurrentContext() ?? '';
    throw wrong(
      `the kubeconfig ${file} has no context "${wanted}" with a cluster (it has: ${names.join(', ')})`,
    );
  }
  return { config, cluster };
}

function headersOf({ headers }: RequestOptions, auth: string | null | undefined): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers ?? {}))
    if (typeof value === 'string') found[name.toLowerCase()] = value;
  if (typeof auth === 'string') found.authorization = `Basic ${Buffer.from(auth).toString('base64')}`;
  return found;
}

/** One agent for as long as certificates are the same. What an older one still carries ends by itself. */
class Agents {
  #print = '';
  #agent: HttpAgent | undefined;
  readonly #older = new Set<HttpAgent>();

  of(tls: AgentOptions, server = 'https:'): HttpAgent {
    const print = JSON.stringify(
      [tls.ca, tls.cert, tls.key, tls.rejectUnauthorized, tls.servername].map(String),
    );
    if (this.#agent !== undefined && print === this.#print) return this.#agent;
    if (this.#agent !== undefined) this.#older.add(this.#agent);
    this.#print = print;
    const kept = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS };
    this.#agent = server.startsWith('https:') ? new Agent({ ...kept, ...tls }) : new HttpAgent(kept);
    return this.#agent;
  }

  close(): void {
    for (const agent of this.#older) agent.destroy();
    this.#agent?.destroy();
  }
}

function required(file: string): string {
  const text = textIn(file);
  if (text === undefined || text === '')
    throw wrong(`${file} is missing: the pod needs its service account's token`);
  return text;
}

function textIn(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function wrong(message: string, cause?: unknown): HeddleError {
  return new HeddleError('kubernetes-credentials', message, { cause });
}
