import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestCluster } from '../../support/network/cluster.ts';
import { BridgeCluster } from './bridge-cluster.ts';
import { startHeddle } from './heddle-cluster.ts';
import { Programs } from './programs.ts';

/** What one case makes, so that all of it is gone afterwards, however far the making came. */
export class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), 'heddle-bench-pods-'));
  readonly programs: Programs;
  readonly #closers: (() => Promise<void>)[] = [];
  #bridges = 0;

  constructor(seat: number) {
    // Servers of other users have their folders below it.
    chmodSync(this.directory, 0o755);
    const servers = join(this.directory, 'servers');
    mkdirSync(servers);
    this.programs = new Programs(servers, seat);
  }

  async heddle(nodes: number): Promise<TestCluster> {
    const cluster = await startHeddle(nodes);
    this.#closers.push(() => cluster.close());
    return cluster;
  }

  bridge(nodes: number, bridgedByIptables: boolean): BridgeCluster {
    const name = `k${++this.#bridges}`;
    const cluster = new BridgeCluster({ ...{ name, nodes, bridgedByIptables }, directory: this.directory });
    this.#closers.push(() => cluster.close());
    return cluster;
  }

  async close(): Promise<void> {
    await this.programs.stop();
    for (const close of this.#closers.splice(0).reverse()) await close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
