import { randomBytes, randomFillSync } from 'node:crypto';

/** Randomness as a parameter, for jitter, balancing and trace IDs. Key material never comes from here. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** `bytes` random bytes as lower-case hexadecimal (two characters a byte). */
  hex(bytes: number): string;
}

/** One system call and one conversion serve hundreds of trace IDs. */
const HEX_POOL_BYTES = 4096;
const hexBytes = Buffer.alloc(HEX_POOL_BYTES);
let hexDigits = '';
let hexUsed = 0;

export const systemRandom: Random = {
  next: () => Math.random(),
  hex(bytes) {
    const end = hexUsed + bytes * 2;
    if (end > hexDigits.length) return refilled(bytes);
    const text = hexDigits.slice(hexUsed, end);
    hexUsed = end;
    return text;
  },
};

function refilled(bytes: number): string {
  if (bytes > HEX_POOL_BYTES) return randomBytes(bytes).toString('hex');
  randomFillSync(hexBytes);
  hexDigits = hexBytes.toString('hex');
  hexUsed = bytes * 2;
  return hexDigits.slice(0, hexUsed);
}

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
