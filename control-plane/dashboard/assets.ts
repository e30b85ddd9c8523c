import { existsSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Asset {
  readonly type: string;
  readonly body: Buffer;
}

/** Libraries the page imports, by the path it finds them at. Nothing else outside `app/` is ever served. */
const VENDOR: Readonly<Record<string, string>> = {
  '/vendor/preact.js': 'preact',
  '/vendor/hooks.js': 'preact/hooks',
  '/vendor/htm.js': 'htm',
  '/vendor/htm-preact.js': 'htm/preact',
};

export const PAGE_LIBRARIES: readonly string[] = Object.keys(VENDOR);

const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  svg: 'image/svg+xml',
};

/** Where the page's files lie: beside this module in a source tree, under `dashboard-app/` beside a bundle. */
function locate(path: string): string | undefined {
  const here = dirname(fileURLToPath(import.meta.url));
  const vendor = VENDOR[path];
  if (vendor !== undefined) {
    const copied = join(here, 'dashboard-app', path);
    if (existsSync(copied)) return copied;
    return fileURLToPath(import.meta.resolve(vendor));
  }
  const name = /^\/app\/([a-z0-9-]+)\.(js|css|html|svg)$/.exec(path);
  if (name === null) return undefined;
  const [, stem = '', extension = ''] = name;
  const files = extension === 'js' ? [`${stem}.js`, `${stem}.ts`] : [`${stem}.${extension}`];
  const candidates = files.flatMap((file) => [join(here, 'dashboard-app', file), join(here, 'app', file)]);
  return candidates.find((candidate) => existsSync(candidate));
}

/** Libraries name each other as packages; without an inline import map (CSP) they are pointed at our paths. */
function script(file: string): Buffer {
  const text = readFileSync(file, 'utf8');
  const plain = file.endsWith('.ts') ? stripTypeScriptTypes(text) : text;
  const mapped = plain
    .replaceAll(/(from\s*|import\s*)(['"])preact\2/g, '$1$2/vendor/preact.js$2')
    .replaceAll(/(from\s*|import\s*)(['"])preact\/hooks\2/g, '$1$2/vendor/hooks.js$2')
    .replaceAll(/(from\s*|import\s*)(['"])htm\/preact\2/g, '$1$2/vendor/htm-preact.js$2')
    .replaceAll(/(from\s*|import\s*)(['"])htm\2/g, '$1$2/vendor/htm.js$2')
    .replaceAll(/(from\s*['"]\.\/[a-z0-9-]+)\.ts(['"])/g, '$1.js$2');
  return Buffer.from(mapped);
}

const cache = new Map<string, Asset | undefined>();

/** A file of the page by its URL path, or undefined. The set of files is fixed: nothing of the path reaches the disk unchecked. */
export function findAsset(path: string): Asset | undefined {
  if (cache.has(path)) return cache.get(path);
  const file = locate(path);
  if (file === undefined) return undefined;
  const extension = path.slice(path.lastIndexOf('.') + 1);
  const body = extension === 'js' ? script(file) : readFileSync(file);
  const asset = { type: TYPES[extension] ?? 'application/octet-stream', body };
  cache.set(path, asset);
  return asset;
}
