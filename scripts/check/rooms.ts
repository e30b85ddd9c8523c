import { dirname, posix } from 'node:path';
import { parseSync } from 'oxc-parser';
import { lineAt, roomOf, type SourceFile, type Violation } from './files.ts';

interface RoomRule {
  /** Rooms, or a folder of one. */
  readonly mayImport: readonly string[];
  /** Packages and Node modules that it may use; any of the dependency list where it isn't said. */
  readonly packages?: readonly string[];
  readonly because: string;
}

/** Who may import whom; a room may always import itself. */
const ROOM_RULES: Readonly<Record<string, RoomRule>> = {
  common: { mayImport: [], because: 'everything stands on it, so it stands on nothing' },
  model: {
    mayImport: ['common'],
    packages: ['re2js'],
    because: 'decisions are pure: no sockets, no gRPC, no Kubernetes client',
  },
  proxy: {
    mayImport: ['common', 'model'],
    because: 'a sidecar must not carry the control plane or a Kubernetes client',
  },
  sources: { mayImport: ['common', 'model'], because: 'control plane and CNI agent both read through it' },
  'control-plane': {
    mayImport: ['common', 'model', 'sources'],
    because: 'it meets sidecars on the wire only',
  },
  injector: {
    mayImport: ['common', 'model'],
    because: 'admission is a process of its own that must keep starting',
  },
  demo: { mayImport: [], because: 'its programs know nothing of the mesh' },
  cni: { mayImport: ['common', 'model', 'sources'], because: 'the pod network works without the mesh' },
  cli: {
    mayImport: ['common', 'model', 'sources', 'injector/patch'],
    because: 'it starts proxies, control plane and injector as processes, as a cluster does',
  },
};

interface PackageRule {
  readonly folder: string;
  readonly because: string;
}

/** Packages that one folder alone may load, by the beginning of what is imported. Tests may, too. */
const PACKAGE_FOLDERS: Readonly<Record<string, PackageRule>> = {
  '@kubernetes/client-node': {
    folder: 'sources/kubernetes/',
    because: 'it takes 40 MB and more once it is loaded, and is loaded only where a kubeconfig is read',
  },
};

/** Code that may import every room. */
const FREE_ROOMS: readonly string[] = ['test', 'scripts'];

interface Found {
  readonly target: string;
  readonly offset: number;
}

/** Every module a file names: static imports, re-exports and `import()` of a literal. */
function importsOf(file: SourceFile): Found[] {
  const { module } = parseSync(file.path, file.text);
  const found: Found[] = [];
  for (const one of module.staticImports) found.push({ target: one.moduleRequest.value, offset: one.start });
  for (const one of module.staticExports) {
    for (const entry of one.entries) {
      if (entry.moduleRequest !== null && entry.moduleRequest !== undefined) {
        found.push({ target: entry.moduleRequest.value, offset: one.start });
      }
    }
  }
  for (const one of module.dynamicImports) {
    const literal = file.text.slice(one.moduleRequest.start, one.moduleRequest.end);
    if (/^['"`]/.test(literal)) found.push({ target: literal.slice(1, -1), offset: one.start });
  }
  return found;
}

function packageRuleOf(target: string): PackageRule | undefined {
  const found = Object.entries(PACKAGE_FOLDERS).find(
    ([name]) => target === name || target.startsWith(`${name}/`),
  );
  return found?.[1];
}

export function checkRooms(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = [];
  for (const file of files.filter((one) => /\.(ts|mjs)$/.test(one.path))) {
    const room = roomOf(file.path);
    const isTest = file.path.endsWith('.test.ts') || FREE_ROOMS.includes(room);
    for (const { target, offset } of importsOf(file)) {
      if (!target.startsWith('.')) {
        const rule = isTest ? undefined : packageRuleOf(target);
        if (rule !== undefined && !file.path.startsWith(rule.folder)) {
          const message = `only ${rule.folder} may import ${target}: ${rule.because}`;
          violations.push({ path: file.path, line: lineAt(file.text, offset), message });
          continue;
        }
        const packages = isTest ? undefined : ROOM_RULES[room]?.packages;
        if (packages === undefined || packages.includes(target)) continue;
        const message = `${room}/ may not import ${target}: ${ROOM_RULES[room]?.because}`;
        violations.push({ path: file.path, line: lineAt(file.text, offset), message });
        continue;
      }
      const path = posix.normalize(posix.join(dirname(file.path), target));
      const to = roomOf(path);
      const line = lineAt(file.text, offset);
      if (to === room || isTest) continue;
      if (to === 'test') {
        violations.push({
          path: file.path,
          line,
          message: `imports ${target}: nothing in production imports test/`,
        });
        continue;
      }
      const rule = ROOM_RULES[room];
      if (rule === undefined || rule.mayImport.some((one) => path.startsWith(`${one}/`))) continue;
      violations.push({
        path: file.path,
        line,
        message: `${room}/ may not import ${to}/ (${target}): ${rule.because}`,
      });
    }
  }
  return violations;
}
