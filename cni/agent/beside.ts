import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Files that the agent finds beside itself: from source in `cni/`, from a bundle (`dist/cni/agent`) in `dist/cni`, where
 * `npm run build` puts them. Only a module of `cni/agent` itself may say where: in a bundle all of them lie in that folder.
 */
const ROOM = new URL('../', import.meta.url);

/** A compiled eBPF object: `pod`, `socket`, `steer`. */
export function bpfObject(name: string): string {
  return fileURLToPath(new URL(`bpf/objects/${name}.o`, ROOM));
}

/** The CNI plugin for this processor. */
export function pluginFile(): string {
  return fileURLToPath(new URL(`plugin/bin/${process.arch}/heddle-cni`, ROOM));
}

export function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', ROOM), 'utf8')) as {
    readonly version: string;
  };
  return version;
}
