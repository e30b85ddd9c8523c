import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundlesAreFresh, programFile } from '../../../cli/local/bundles.ts';
import { type BenchMesh, OUTBOUND_PORT, ROOT, startBenchMesh } from '../mesh.ts';
import type { Program } from '../processes.ts';
import type { Peer, Site } from './peer.ts';

/** Apart from the addresses that meshes and tests on this machine use. */
const CLIENT_IP = `127.245.${process.pid % 250}.1`;
const SERVER_IP = `127.245.${process.pid % 250}.2`;
const APP_PORT = 8080;

/** What `heddle up` would run at this moment. */
const bundled = bundlesAreFresh(ROOT);

/** The real sidecar, configured by the real control plane. */
export const heddle: Peer = {
  name: 'heddle',
  topologies: ['one-hop', 'mtls-pair'],
  find() {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const from = bundled ? 'release bundle' : 'source';
    return { ok: true, value: `${version} (${from}, Node ${process.versions.node})` };
  },
  async start(site) {
    const mesh = await startBenchMesh(site, (room) => programFile(ROOT, room, bundled));
    try {
      const servers =
        site.topology === 'one-hop' ? plainServers(mesh, site) : [await meshedServer(mesh, site)];
      const ports = { port: APP_PORT, appPort: site.upstream.port };
      const client = await mesh.addSidecar('client', CLIENT_IP, ports);
      const pids = [client, ...servers].map(({ pid }) => pid);
      return { url: `http://${CLIENT_IP}:${OUTBOUND_PORT}`, pids: () => pids, stop: mesh.stop };
    } catch (thrown) {
      await mesh.stop();
      throw thrown;
    }
  },
};

/** The service's endpoints are not in the mesh: no process of ours serves them. */
function plainServers(mesh: BenchMesh, { upstream }: Site): readonly Program[] {
  mesh.addService('web', upstream.port);
  for (const [index, address] of upstream.addresses.entries())
    mesh.addPlainPod(`web-${index}`, address, upstream.port);
  return [];
}

function meshedServer(mesh: BenchMesh, { upstream }: Site): Promise<Program> {
  mesh.addService('web', APP_PORT);
  return mesh.addSidecar('web-0', SERVER_IP, { port: APP_PORT, appPort: upstream.port });
}
