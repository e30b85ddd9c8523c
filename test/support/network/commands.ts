import { execFileSync } from 'node:child_process';

const commandMs = 20_000;

/** Runs ip(8); its standard output. */
export function ip(...words: readonly string[]): string {
  return execFileSync('ip', words, {
    encoding: 'utf8',
    timeout: commandMs,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Runs a program inside a network namespace. Throws where it fails. */
export function runIn(netns: string, command: string, ...words: readonly string[]): string {
  return execFileSync('nsenter', [`--net=${netns}`, '--', command, ...words], {
    ...{ encoding: 'utf8', timeout: commandMs, stdio: ['ignore', 'pipe', 'pipe'] },
  });
}

/** Kills what still runs in a namespace and removes it; also where it is gone. */
export function removeNamespace(name: string): void {
  if (
    !ip('netns', 'list')
      .split('\n')
      .some((line) => line.split(' ')[0] === name)
  )
    return;
  for (const pid of ip('netns', 'pids', name).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself meanwhile.
    }
  }
  ip('netns', 'delete', name);
}
