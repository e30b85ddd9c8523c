import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SERVICE_HOST } from '../cases.ts';
import { freePort } from '../ports.ts';
import { accepts, startProgram } from '../processes.ts';
import type { Peer } from './peer.ts';

const SERVER = fileURLToPath(new URL('./http-proxy-server.mjs', import.meta.url));
const PACKAGE = new URL('../../../node_modules/http-proxy/package.json', import.meta.url);

/** On the Node that runs the benchmark, which is the one that runs the sidecar. */
export const httpProxy: Peer = {
  name: 'http-proxy',
  topologies: ['one-hop'],
  find: () => {
    const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
    return { ok: true, value: `${version} (Node ${process.versions.node})` };
  },
  async start({ upstream, seats }) {
    const port = await freePort();
    const targets = upstream.addresses.map((address) => `http://${address}:${upstream.port}`);
    const args = [SERVER, String(port), SERVICE_HOST, ...targets];
    const program = await startProgram(process.execPath, args, {
      seat: seats.proxy,
      ready: () => accepts('127.0.0.1', port),
    });
    return { url: `http://127.0.0.1:${port}`, pids: () => [program.pid], stop: program.stop };
  },
};
