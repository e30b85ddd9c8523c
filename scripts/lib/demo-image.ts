import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { HeddleError } from '../../common/errors.ts';
import { baseLayer, ENVIRONMENT, programPath, REPOSITORY, unique } from './heddle-images.ts';
import { type ImageContents, type ImageFile, withLibraries } from './host-image.ts';

/** As demo/shop names it, and therefore the same whatever tag Heddle's own images have. */
export const DEMO_IMAGE = `${REPOSITORY}/heddle-demo-shop:dev`;
/** `command: [node, apps/web.mjs]` is relative to it, as it is to demo/shop where the services are processes of a local mesh. */
const SHOP = '/shop';
const USER = 65_532;
/** Of Python's library: what no service of the shop needs, and what is made while it runs. */
const LEFT_OUT =
  /\/(__pycache__|test|idlelib|tkinter|lib2to3|ensurepip|pydoc_data|turtledemo|config-[^/]*|dist-packages|site-packages)(\/|$)/;
const PYTHON_TIMEOUT_MS = 10_000;

export interface DemoImageInput {
  /** Heddle's own root folder. */
  readonly root: string;
  /** The Node binary that the image has. */
  readonly node: string;
  /** A folder for files that are made for the image; it must stay until it is. */
  readonly work: string;
}

/** The services of demo/shop with what their commands name: node and this machine's python3. */
export function demoImage({ root, node, work }: DemoImageInput): ImageContents {
  const shop = join(root, 'demo/shop');
  const apps = filesBelow(join(shop, 'apps')).map((from) => ({ from, to: SHOP + from.slice(shop.length) }));
  return {
    name: DEMO_IMAGE,
    layers: [baseLayer(node, work), { files: python() }, { files: apps }],
    entrypoint: [],
    env: ENVIRONMENT,
    user: `${USER}:${USER}`,
    workdir: SHOP,
    labels: { 'org.opencontainers.image.title': 'heddle-demo-shop' },
  };
}

function python(): readonly ImageFile[] {
  const binary = programPath('python3');
  const asked = ['-c', 'import sysconfig; print(sysconfig.get_path("stdlib"))'];
  const { status, stdout, stderr } = spawnSync(binary, asked, {
    ...{ encoding: 'utf8', timeout: PYTHON_TIMEOUT_MS },
  });
  if (status !== 0)
    throw new HeddleError('image-file', `${binary} doesn't say where its library is: ${stderr}`);
  const library = filesBelow(stdout.trim()).filter((path) => !LEFT_OUT.test(path));
  return unique([
    ...withLibraries(binary, '/usr/bin/python3'),
    ...library.flatMap((path) =>
      path.endsWith('.so') ? withLibraries(path, path) : [{ from: path, to: path, mode: 0o644 }],
    ),
  ]);
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !LEFT_OUT.test(`${entry.parentPath}/`))
    .map((entry) => join(entry.parentPath, entry.name));
}
