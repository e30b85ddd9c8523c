import { closeSync, openSync } from 'node:fs';
import { checkedErrno, libc } from '../../../cni/kernel/native.ts';

const CLONE_NEWNET = 0x40000000;

/**
 * Moves this process's main thread into a network namespace: all sockets and processes that it makes from now on are there.
 * Returns the way back. Production code goes by `inNetns`, which can't forget it.
 */
export function enterNetns(netns: string): () => void {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  const enter = (target: number, what: string) => {
    try {
      checkedErrno(`enter ${what}`, libc().setns(target, CLONE_NEWNET));
    } finally {
      closeSync(target);
    }
  };
  enter(openSync(netns, 'r'), netns);
  return () => enter(home, "the test's own network namespace");
}
