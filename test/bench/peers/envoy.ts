import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ENVOY_VERSION, findEnvoy } from '../../support/envoy.ts';
import { freePort } from '../ports.ts';
import { accepts, type Program, startProgram } from '../processes.ts';
import { makeCertificates } from './certificates.ts';
import { inboundConfig, outboundConfig } from './envoy-config.ts';
import type { Peer, RunningPeer, Site } from './peer.ts';

/** One worker, no access log, its own statistics on as they are by default. */
export const envoy: Peer = {
  name: 'envoy',
  topologies: ['one-hop', 'mtls-pair'],
  find() {
    const found = findEnvoy();
    return found.ok ? { ok: true, value: ENVOY_VERSION } : found;
  },
  start: (site) => (site.topology === 'one-hop' ? startOne(site) : startPair(site)),
};

async function startOne(site: Site): Promise<RunningPeer> {
  const port = await freePort();
  const program = await run(site, 'outbound', port, outboundConfig(port, await freePort(), site.upstream));
  return { url: `http://127.0.0.1:${port}`, pids: () => [program.pid], stop: program.stop };
}

async function startPair(site: Site): Promise<RunningPeer> {
  const { ca, certificate } = makeCertificates(site.directory);
  const [client, server] = [certificate('client'), certificate('web')];
  const [port, between] = [await freePort(), await freePort()];
  const app = { addresses: ['127.0.0.1'], port: site.upstream.port };
  const inbound = inboundConfig(between, await freePort(), app, { ...server, ca, peer: client.id });
  const there = { addresses: ['127.0.0.1'], port: between };
  const outbound = outboundConfig(port, await freePort(), there, { ...client, ca, peer: server.id });
  const far = await run(site, 'inbound', between, inbound);
  const near = await run(site, 'outbound', port, outbound);
  return {
    url: `http://127.0.0.1:${port}`,
    pids: () => [near.pid, far.pid],
    async stop() {
      await near.stop();
      await far.stop();
    },
  };
}

async function run(site: Site, name: string, port: number, config: object): Promise<Program> {
  const found = findEnvoy();
  if (!found.ok) throw new Error(found.error);
  const file = join(site.directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(config));
  const args = ['-c', file, '--concurrency', '1', '--log-level', 'error', '--use-dynamic-base-id'];
  return startProgram(found.value, args, {
    seat: site.seats.proxy,
    ready: () => accepts('127.0.0.1', port),
  });
}
