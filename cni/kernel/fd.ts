import { closeSync, openSync } from 'node:fs';
import { KernelError } from './errors.ts';

/** A file descriptor with one owner. Closing twice does nothing; `using` closes at the end of the block. */
export class Fd implements Disposable {
  #number: number;

  constructor(number: number) {
    this.#number = number;
  }

  /** Throws `EBADF` once it is closed, so that a number the kernel gave away again is never used. */
  get number(): number {
    if (this.#number < 0) throw new KernelError('use a file descriptor that is closed', 9);
    return this.#number;
  }

  get open(): boolean {
    return this.#number >= 0;
  }

  [Symbol.dispose](): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    closeSync(number);
  }
}

/** Opens a file or a folder of this name for reading. Throws what `fs.openSync` throws. */
export function openFd(path: string): Fd {
  return new Fd(openSync(path, 'r'));
}
