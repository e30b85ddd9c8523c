import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pinnedNode, ROOT } from './pinned-node.mjs';

const LOCK = join(ROOT, 'node_modules.lock');
const LOCK_WAIT_MS = 300_000;
const LOCK_POLL_MS = 200;

/** npm writes this file last: an install that was cut short leaves it old or absent. */
const INSTALLED = join(ROOT, 'node_modules', '.package-lock.json');

function fresh() {
  if (!existsSync(INSTALLED) || pinnedNode() === undefined) return false;
  return statSync(INSTALLED).mtimeMs >= statSync(join(ROOT, 'package-lock.json')).mtimeMs - 1;
}

function ownerAlive() {
  try {
    process.kill(Number(readFileSync(join(LOCK, 'pid'), 'utf8')), 0);
    return true;
  } catch {
    return false;
  }
}

/** Takes the lock of this checkout, so that two first starts don't install over each other. */
function lock() {
  const until = Date.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      mkdirSync(LOCK);
      writeFileSync(join(LOCK, 'pid'), String(process.pid));
      return;
    } catch (thrown) {
      if (thrown.code !== 'EEXIST') throw thrown;
    }
    if (!ownerAlive()) rmSync(LOCK, { recursive: true, force: true });
    else if (Date.now() > until)
      throw new Error('another start has been installing packages for five minutes');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_POLL_MS);
  }
}

/**
 * Installs the npm packages where they are missing or older than package-lock.json. Throws with what to do where that
 * can't be done.
 */
export function ensurePackages() {
  if (fresh()) return;
  lock();
  try {
    if (fresh()) return;
    process.stderr.write('Installing npm packages (npm ci), once per checkout …\n');
    const done = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    if (done.error?.code === 'ENOENT')
      throw new Error('npm is not on the PATH: install Node.js with npm, then start again');
    if (done.status !== 0)
      throw new Error('npm ci failed (see above): check the network or registry, then start again');
    if (pinnedNode() === undefined) {
      throw new Error(
        `there is no pinned Node for ${process.platform}-${process.arch}; Heddle runs on Linux and macOS, x64 and arm64`,
      );
    }
    writeFileSync(INSTALLED, readFileSync(INSTALLED));
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
  }
}
