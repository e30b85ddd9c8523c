// npm run build [-- DIR]: release bundles of every program in dist/ (or DIR), and the stamp that says of which sources.
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { PROGRAMS, type Program, STAMP_NAME, sourcesFingerprint } from '../cli/local/bundles.ts';
import { findAsset, PAGE_LIBRARIES } from '../control-plane/dashboard/assets.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = resolve(ROOT, process.argv[2] ?? 'dist');

/** CommonJS packages inside an ES module still ask for `require` and for where they stand. */
const BANNER = [
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
].join('');

/**
 * Packages whose ES modules get gRPC by `require` at run time: bundled so, a second copy of gRPC would be loaded, and
 * refuse the credentials of the first. Their CommonJS form lets the bundler see the call.
 */
const COMMONJS = ['@opentelemetry/otlp-grpc-exporter-base'];

const preferCommonJs: Plugin = {
  name: 'prefer-commonjs',
  setup({ onResolve }) {
    for (const name of COMMONJS)
      onResolve({ filter: new RegExp(`^${name}$`) }, ({ resolveDir }) => ({
        path: createRequire(join(resolveDir, 'x.js')).resolve(name),
      }));
  },
};

/**
 * koffi asks for its native part by a `require` that the bundler can't see. Its list of such requires is replaced by the one
 * for this machine, so that the file lies beside the bundle.
 */
const nativeBesideBundle: Plugin = {
  name: 'native-beside-bundle',
  setup({ onLoad }) {
    onLoad({ filter: /\/koffi\/src\/koffi\/src\/static\.js$/ }, () => {
      const { platform, arch } = process;
      const file = join(
        ROOT,
        `node_modules/@koromix/koffi-${platform}-${arch}/${platform}_${arch}/koffi.node`,
      );
      const native = existsSync(file) ? `require(${JSON.stringify(file)})` : 'null';
      return { contents: `export const loadStatic = () => ${native};`, loader: 'js' };
    });
  },
};

async function bundle(program: Program): Promise<number> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: { main: `${program}/main.ts` },
    outdir: join(DIST, program),
    outExtension: { '.js': '.mjs' },
    ...{ bundle: true, splitting: true, platform: 'node', format: 'esm', target: 'node26' },
    ...{ minify: true, keepNames: true, sourcemap: 'external', legalComments: 'linked', metafile: true },
    banner: { js: BANNER },
    plugins: [preferCommonJs, nativeBesideBundle],
    loader: { '.node': 'copy' },
    assetNames: '[name]',
    logLevel: 'warning',
  });
  return Object.entries(metafile.outputs)
    .filter(([path]) => path.endsWith('.mjs'))
    .reduce((sum, [, output]) => sum + output.bytes, 0);
}

/** The dashboard's page beside the control plane, as its server finds it there: types stripped, libraries copied. */
function copyPage(): void {
  const from = join(ROOT, 'control-plane/dashboard/app');
  const to = join(DIST, 'control-plane/dashboard-app');
  const names = readdirSync(from).map((name) => name.replace(/\.ts$/, '.js'));
  for (const path of [...names.map((name) => `/app/${name}`), ...PAGE_LIBRARIES]) {
    const asset = findAsset(path);
    if (asset === undefined) throw new Error(`the page's ${path} is missing`);
    const target = join(to, path.startsWith('/app/') ? basename(path) : path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, asset.body);
  }
}

rmSync(DIST, { recursive: true, force: true });
for (const program of PROGRAMS) {
  const bytes = await bundle(program);
  console.log(`${join(DIST, program)}  ${(bytes / 1024).toFixed(0)} KiB`);
}
copyPage();
for (const beside of ['cni/bpf/objects', `cni/plugin/bin/${process.arch}`])
  cpSync(join(ROOT, beside), join(DIST, beside), { recursive: true });
const { name, version, type } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
writeFileSync(join(DIST, 'package.json'), `${JSON.stringify({ name, version, type })}\n`);
for (const script of ['local/watchdog.sh', 'network/clean.sh', 'network/enter.sh'])
  copyFileSync(join(ROOT, 'cli', script), join(DIST, 'cli', basename(script)));
copyFileSync(join(ROOT, 'LICENSE'), join(DIST, 'LICENSE'));
writeFileSync(join(DIST, STAMP_NAME), sourcesFingerprint(ROOT));
