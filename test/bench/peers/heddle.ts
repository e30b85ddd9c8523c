import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundlesAreFresh, programFile } from '../../../cli/local/bundles.ts';
import { OUTBOUND_PORT, ROOT, startBenchMesh } from '../mesh.ts';
import type { Peer } from './peer.ts';

/** Apart from the addresses that meshes and tests on this machine use. */
const ADDRESS = `127.245.${process.pid % 250}.1`;
const APP_PORT = 8080;

/** What `heddle up` would run at this moment. */
const bundled = bundlesAreFresh(ROOT);

/** The real sidecar, configured by the real control plane. */
export const heddle: Peer = {
  name: 'heddle',
  topologies: ['one-hop'],
  find() {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const from = bundled ? 'release bundle' : 'source';
    return { ok: true, value: `${version} (${from}, Node ${process.versions.node})` };
  },
  async start({ directory, upstream, seats }) {
    const mesh = await startBenchMesh(directory, seats, (room) => programFile(ROOT, room, bundled));
    try {
      mesh.addService('web', upstream.port);
      for (const [index, address] of upstream.addresses.entries())
        mesh.addPlainPod(`web-${index}`, address, upstream.port);
      const sidecar = await mesh.addSidecar('client', ADDRESS, { port: APP_PORT, appPort: upstream.port });
      return { url: `http://${ADDRESS}:${OUTBOUND_PORT}`, pids: () => [sidecar.pid], stop: mesh.stop };
    } catch (thrown) {
      await mesh.stop();
      throw thrown;
    }
  },
};
