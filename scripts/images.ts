// npm run build:images: Heddle's container images of this machine's own files; see USAGE.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundlesAreFresh } from '../cli/local/bundles.ts';
import { messageOf } from '../common/errors.ts';
import { DEMO_IMAGE, demoImage } from './lib/demo-image.ts';
import { DEFAULT_TAG, heddleImages, REPOSITORY } from './lib/heddle-images.ts';
import { layOut, makeImage } from './lib/host-image.ts';

const USAGE = `Usage: npm run build:images -- [options]

  --out DIR    where NAME.tar go, for "ctr -n k8s.io image import" or "docker load" (default dist/images)
  --tag TAG    (default ${DEFAULT_TAG})
  --roots DIR  folders instead, DIR/NAME with everything that the image has; images/Dockerfile copies them
  --demo       also the image of demo/shop's services; needs python3

The images are ${REPOSITORY}/heddle-proxy:TAG, ${REPOSITORY}/heddle-control-plane:TAG and ${REPOSITORY}/heddle-cni:TAG. No registry has that
name, so nodes must have them already (imagePullPolicy: IfNotPresent or Never). For the chart:
  helm install heddle charts/heddle --set image.registry=${REPOSITORY} --set image.tag=TAG
With --demo there is ${DEMO_IMAGE} beside them, which demo/shop names.
`;

const ROOT = fileURLToPath(new URL('..', import.meta.url));

function main(): number {
  const options = readOptions();
  if (options === undefined) return 2;
  const work = mkdtempSync(join(tmpdir(), 'heddle-images-'));
  try {
    const dist = bundles(work);
    const images = [...heddleImages({ root: ROOT, dist, node: process.execPath, tag: options.tag, work })];
    if (options.demo) images.push(demoImage({ root: ROOT, node: process.execPath, work }));
    for (const image of images) {
      const name = image.name.slice(REPOSITORY.length + 1).split(':')[0] ?? '';
      if (options.roots !== undefined) {
        const root = resolve(options.roots, name);
        rmSync(root, { recursive: true, force: true });
        mkdirSync(root, { recursive: true });
        for (const layer of image.layers) layOut(layer, root);
        console.log(root);
      } else {
        const archive = resolve(options.out, `${name}.tar`);
        const { bytes, digest } = makeImage(image, archive);
        console.log(`${archive}  ${image.name}  ${(bytes / 1024 / 1024).toFixed(1)} MiB  ${digest}`);
      }
    }
    return 0;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        out: { type: 'string', default: join(ROOT, 'dist/images') },
        tag: { type: 'string', default: DEFAULT_TAG },
        roots: { type: 'string' },
        demo: { type: 'boolean', default: false },
        help: { type: 'boolean' },
      },
    });
    if (values.help !== true) return values;
    console.log(USAGE);
    process.exit(0);
  } catch (thrown) {
    console.error(`${messageOf(thrown)}\n\n${USAGE}`);
    return undefined;
  }
}

/** Those in dist/ where the sources haven't changed since, else new ones. */
function bundles(work: string): string {
  if (bundlesAreFresh(ROOT)) return join(ROOT, 'dist');
  const dist = join(work, 'dist');
  const built = spawnSync(process.execPath, [join(ROOT, 'scripts/build.ts'), dist], { stdio: 'inherit' });
  if (built.status !== 0) throw new Error('npm run build failed');
  return dist;
}

process.exitCode = main();
