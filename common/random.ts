import { randomFillSync } from 'node:crypto';

/** Randomness as a parameter, for jitter, balancing and trace IDs. Key material never comes from here. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** `bytes` random bytes as lower-case hexadecimal (two characters a byte). */
  hex(bytes: number): string;
}

const HEX_POOL_BYTES = 4096;
const hexPool = Buffer.alloc(HEX_POOL_BYTES);
let hexUsed = HEX_POOL_BYTES;

export const systemRandom: Random = {
  next: () => Math.random(),
  hex(bytes) {
    // One system call serves hundreds of trace IDs.
    if (hexUsed + bytes > HEX_POOL_BYTES) {
      randomFillSync(hexPool);
      hexUsed = 0;
    }
    const text = hexPool.toString('hex', hexUsed, hexUsed + bytes);
    hexUsed += bytes;
    return text;
  },
};

/** A reproducible stream (mulberry32): the same seed gives the same run. For tests and simulations. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
  return {
    next,
    hex(bytes) {
      let text = '';
      for (let index = 0; index < bytes; index++) {
        text += Math.floor(next() * 256)
          .toString(16)
          .padStart(2, '0');
      }
      return text;
    },
  };
}
