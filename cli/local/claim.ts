import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import net from 'node:net';
import { HeddleError } from '../../common/errors.ts';
import { isSameProcess } from './process-identity.ts';
import { readMeshFile, type StatePaths } from './state-dir.ts';

/**
 * Makes this process the only one that runs a mesh in a state directory. The claim is a socket in the kernel's abstract
 * namespace (unix(7)): it has no file, and ends with the process, however that ends. Fails with code `running`, naming
 * the process that holds it. Returns the function that gives it back.
 */
export async function claimState(paths: StatePaths, name: string): Promise<() => Promise<void>> {
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  const key = createHash('sha256').update(realpathSync(paths.root)).digest('hex');
  const server = net.createServer((stream) => stream.destroy());
  const taken = await new Promise<boolean>((resolve, reject) => {
    server.once('error', (error) => {
      if ('code' in error && error.code === 'EADDRINUSE') resolve(true);
      else reject(error);
    });
    server.listen(`\0heddle-mesh-${key}`, () => resolve(false));
  });
  if (taken) throw new HeddleError('running', takenText(paths, name));
  server.unref();
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
    });
}

function takenText(paths: StatePaths, name: string): string {
  const mesh = readMeshFile(paths);
  const process =
    mesh !== undefined && isSameProcess(mesh.pid, mesh.startTime)
      ? `already runs as process ${mesh.pid}`
      : 'is being started or stopped by another process';
  return `mesh "${name}" ${process}; end it with "heddle down${name === 'default' ? '' : ` --name ${name}`}", or choose another --name`;
}
