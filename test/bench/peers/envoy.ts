import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ENVOY_VERSION, findEnvoy } from '../../support/envoy.ts';
import { freePort } from '../ports.ts';
import { accepts, startProgram } from '../processes.ts';
import { outboundConfig } from './envoy-config.ts';
import type { Peer } from './peer.ts';

/** One worker, no access log, its own statistics on as they are by default. */
export const envoy: Peer = {
  name: 'envoy',
  topologies: ['one-hop'],
  find() {
    const found = findEnvoy();
    return found.ok ? { ok: true, value: ENVOY_VERSION } : found;
  },
  async start({ directory, upstream, seats }) {
    const found = findEnvoy();
    if (!found.ok) throw new Error(found.error);
    const [port, adminPort] = [await freePort(), await freePort()];
    const file = join(directory, 'envoy.json');
    writeFileSync(file, JSON.stringify(outboundConfig(port, adminPort, upstream)));
    const args = ['-c', file, '--concurrency', '1', '--log-level', 'error', '--use-dynamic-base-id'];
    const program = await startProgram(found.value, args, {
      seat: seats.proxy,
      ready: () => accepts('127.0.0.1', port),
    });
    return { url: `http://127.0.0.1:${port}`, pids: () => [program.pid], stop: program.stop };
  },
};
