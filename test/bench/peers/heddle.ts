import { readFileSync } from 'node:fs';
import { OUTBOUND_PORT, sourceProgram, startBenchMesh } from '../mesh.ts';
import type { Peer } from './peer.ts';

const PACKAGE = new URL('../../../package.json', import.meta.url);
/** Apart from the addresses that meshes and tests on this machine use. */
const ADDRESS = `127.245.${process.pid % 250}.1`;
const APP_PORT = 8080;

/** The real sidecar, configured by the real control plane. */
export const heddle: Peer = {
  name: 'heddle',
  topologies: ['one-hop'],
  find() {
    const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
    return { ok: true, value: `${version} (Node ${process.versions.node})` };
  },
  async start({ directory, upstream, seats }) {
    const mesh = await startBenchMesh(directory, seats, sourceProgram);
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
