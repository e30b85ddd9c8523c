import type { Clock, Timer } from '../../common/clock.ts';
import type { BpfMap } from './bpf-map.ts';
import { KernelError } from './errors.ts';
import { bytesAt, callback, lastErrno, libbpf, type Pointer } from './native.ts';

/** How long a record waits at most. A look at an empty ring costs about a microsecond. */
export const ringPollMs = 20;
/** Records taken in one go: a flood must leave the process time for everything else. */
export const ringRecordsPerPollMax = 1024;

/**
 * Reads a ring buffer's records in the order they were written. Node can't wait for a descriptor of this kind, and a
 * blocking call would hold one of libuv's four threads for each ring; so a timer looks every 20 ms.
 */
export class RingReader implements Disposable {
  readonly #ring: Pointer;
  readonly #timer: Timer | undefined;
  readonly #release: () => void;
  #taken = 0;
  #closed = false;
  #error: unknown;

  /** `take` gets a copy of each record; what it throws is thrown by `poll`. Without a clock only `poll` reads. */
  constructor(map: BpfMap, take: (record: Buffer) => void, clock?: Clock) {
    const { pointer, release } = callback(
      'int heddle_ring_record(void *context, void *data, size_t bytes)',
      (_context: Pointer | null, data: Pointer, bytes: number | bigint) => {
        try {
          take(bytesAt(data, Number(bytes)));
        } catch (thrown) {
          // Through C nothing may be thrown.
          this.#error = thrown;
          return -1;
        }
        return ++this.#taken >= ringRecordsPerPollMax ? -1 : 0;
      },
    );
    this.#release = release;
    const ring = libbpf().ringNew(map.fd, pointer, null, null);
    if (ring === null) {
      const errno = lastErrno();
      release();
      throw new KernelError(`read the ring ${map.name}`, errno);
    }
    this.#ring = ring;
    this.#timer = clock?.every(ringPollMs, () => this.poll());
  }

  /** Takes what is there, at most `ringRecordsPerPollMax`; says how many. */
  poll(): number {
    if (this.#closed) return 0;
    this.#taken = 0;
    libbpf().ringConsume(this.#ring);
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      throw error;
    }
    return this.#taken;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    libbpf().ringFree(this.#ring);
    this.#release();
  }
}
