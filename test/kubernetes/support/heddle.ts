import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ADDRESSES } from '../cluster/layout.ts';
import type { KubernetesCluster } from './cluster.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const BUILD_TIMEOUT_MS = 300_000;
const INSTALL_TIMEOUT_MS = 180_000;
const NAMES = ['heddle-cni', 'heddle-control-plane', 'heddle-proxy'];

/** Where nodes find the images of `HeddleImages`, as values of the chart. */
const IMAGE_VALUES = ['--set=image.registry=localhost', '--set=image.tag=test'];
const API_VALUES = [`--set=apiServerPort=${ADDRESSES.apiServerPort}`];

/** Heddle's own images, built from this checkout's sources. */
export class HeddleImages {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static build(): HeddleImages {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-images-'));
    const command = ['scripts/images.ts', '--tag', 'test', '--out', folder];
    const built = spawnSync(process.execPath, command, {
      ...{ cwd: ROOT, encoding: 'utf8', timeout: BUILD_TIMEOUT_MS },
    });
    if (built.status !== 0) throw new Error(`no images: ${built.stderr}`);
    return new HeddleImages(folder);
  }

  get archives(): readonly string[] {
    return NAMES.map((name) => join(this.#folder, `${name}.tar`));
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The chart, as its page says to install it, until everything of it is ready. */
export async function installHeddle(
  cluster: KubernetesCluster,
  values: readonly string[] = [],
): Promise<void> {
  const chart = ['install', 'heddle', join(ROOT, 'charts/heddle'), '--namespace=heddle-system'];
  const flags = ['--create-namespace', '--wait', `--timeout=${INSTALL_TIMEOUT_MS}ms`];
  const api = [...API_VALUES, `--set=apiServerHost=${cluster.node(1).ip4}`];
  await cluster.helm([...chart, ...flags, ...IMAGE_VALUES, ...api, ...values], {
    timeoutMs: INSTALL_TIMEOUT_MS * 2,
  });
}
