import assert from 'node:assert/strict';
import { LocalMesh, processesOf } from '../../integration/local-mesh/run.ts';
import { eventually } from '../../support/wait.ts';
import { Laptop } from './laptop.ts';

const goneMs = 10_000;

/** A mesh whose nodes and pods are network namespaces, on a laptop that is one as well. */
export class LaptopMesh extends LocalMesh {
  readonly laptop: Laptop;

  constructor(name: string) {
    const laptop = new Laptop(name);
    super(laptop.netns);
    this.laptop = laptop;
  }

  /** Returns when the mesh is ready. */
  async stand(): Promise<void> {
    await this.up('--network', 'ebpf', '--name', this.laptop.mesh);
  }

  /** What of the mesh is on the laptop, in words. */
  left(): readonly string[] {
    return [...this.laptop.left(), ...processesOf(this.state).map(({ what }) => what)];
  }

  async leavesNothing(): Promise<void> {
    await eventually(() => this.left().length === 0, {
      ...{ deadlineMs: goneMs, what: `nothing is left, but ${this.left()}` },
    });
  }

  /** Ends the mesh and the laptop; fails where the mesh left something. */
  override async close(): Promise<void> {
    await super.close();
    const left = this.laptop.left();
    this.laptop.close();
    assert.deepEqual(left, [], this.output);
  }
}
