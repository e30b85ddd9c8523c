import { chmodSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import type { Server } from 'node:net';
import { dirname } from 'node:path';

/** A path at which a server of this process listens. */
export interface OwnSocket {
  /** Removes the path, unless a newer process has taken it over. */
  release(): void;
}

/**
 * Lets a server listen on a Unix socket for root alone. It takes the path over from an older process in one step. Rejects
 * with what the file system or the kernel says.
 */
export async function listenAlone(server: Server, socket: string): Promise<OwnSocket> {
  const own = `${socket}.${process.pid}`;
  mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
  rmSync(own, { force: true });
  await listening(server, own);
  chmodSync(own, 0o600);
  const inode = statSync(own).ino;
  renameSync(own, socket);
  return {
    release() {
      if (statSync(socket, { throwIfNoEntry: false })?.ino === inode) rmSync(socket, { force: true });
    },
  };
}

/** Nobody else may call, not even between the making of the socket and its chmod: it is bound before `listen` returns. */
function listening(server: Server, path: string): Promise<void> {
  const mask = process.umask(0o177);
  try {
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } finally {
    process.umask(mask);
  }
}
