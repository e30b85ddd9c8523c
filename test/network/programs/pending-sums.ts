import { addressText, anyAddress } from '../../../common/address.ts';
import { internetSum, pseudoHeader } from '../packets/craft.ts';
import type { Family } from '../packets/datapath.ts';

const SUM_AT = { 6: 16, 17: 6 } as const;

/** A frame of TCP or UDP as the kernel has it while a device is yet to sum it up (CHECKSUM_PARTIAL): the pseudo header's sum alone. */
export function pendingSum(bytes: Buffer, family: Family): Buffer {
  const at = family === 4 ? 14 + 20 : 14 + 40;
  const protocol = bytes.readUInt8(family === 4 ? 23 : 20);
  const [from, to] = family === 4 ? [26, 30] : [22, 38];
  const sum = SUM_AT[protocol === 6 ? 6 : 17];
  const pseudo = pseudoHeader(
    textAt(bytes, family, from),
    textAt(bytes, family, to),
    protocol,
    bytes.length - at,
  );
  bytes.writeUInt16BE(~internetSum(pseudo) & 0xffff, at + sum);
  return bytes;
}

/** What a device makes of a frame: the sum from `start` to the end, written `sumAt` behind it. */
export function summedByDevice(bytes: Buffer, start: number, sumAt: number): Buffer {
  const done = Buffer.from(bytes);
  const sum = internetSum(padded(bytes.subarray(start)));
  done.writeUInt16BE(sum === 0 ? 0xffff : sum, start + sumAt);
  return done;
}

function padded(bytes: Buffer): Buffer {
  return bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(1)]);
}

function textAt(bytes: Buffer, family: Family, at: number): string {
  const raw = bytes.subarray(at, at + (family === 4 ? 4 : 16));
  return addressText(family === 4 ? Buffer.concat([anyAddress(4).subarray(0, 12), raw]) : raw);
}
