import { ADDRESS_BYTES, type AddressBytes } from '../../common/address.ts';
import { HeddleError } from '../../common/errors.ts';

/** How one C type stands in memory: little-endian as eBPF objects are built for, ports and addresses in network order. */
export interface Codec<T> {
  readonly sizeBytes: number;
  readonly alignBytes: number;
  write(into: Buffer, at: number, value: T): void;
  read(from: Buffer, at: number): T;
}

export interface FieldPlace {
  /** As TypeScript spells it: `ifindex`, `ingressSet`. */
  readonly name: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** A C structure. Its fields stand where the C compiler puts them; what is between them is zero. */
export interface Struct<T> extends Codec<T> {
  readonly name: string;
  readonly fields: readonly FieldPlace[];
}

type Fields = Readonly<Record<string, Codec<unknown>>>;
type RecordOf<F> = { readonly [K in keyof F]: F[K] extends Codec<infer T> ? T : never };

/** The structure `name` of layout.h with these fields, in its order. Padding is left out: it follows from alignment. */
export function struct<F extends Fields>(name: string, fields: F): Struct<RecordOf<F>> {
  const places: { name: string; offsetBytes: number; sizeBytes: number; codec: Codec<unknown> }[] = [];
  let end = 0;
  let widest = 1;
  for (const [field, codec] of Object.entries(fields)) {
    const offsetBytes = alignedTo(end, codec.alignBytes);
    places.push({ name: field, offsetBytes, sizeBytes: codec.sizeBytes, codec });
    end = offsetBytes + codec.sizeBytes;
    widest = Math.max(widest, codec.alignBytes);
  }
  return {
    name,
    sizeBytes: alignedTo(end, widest),
    alignBytes: widest,
    fields: places.map(({ name: field, offsetBytes, sizeBytes }) => ({
      name: field,
      offsetBytes,
      sizeBytes,
    })),
    write(into, at, value) {
      const record = value as Readonly<Record<string, unknown>>;
      for (const place of places) place.codec.write(into, at + place.offsetBytes, record[place.name]);
    },
    read(from, at) {
      const record: Record<string, unknown> = {};
      for (const place of places) record[place.name] = place.codec.read(from, at + place.offsetBytes);
      return record as RecordOf<F>;
    },
  };
}

/** A value as the map holds it. */
export function encode<T>(codec: Codec<T>, value: T): Buffer {
  const bytes = Buffer.alloc(codec.sizeBytes);
  codec.write(bytes, 0, value);
  return bytes;
}

/** The value in the first bytes. Throws `map-value-size` where there are too few. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  if (bytes.byteLength < codec.sizeBytes) {
    const message = `${bytes.byteLength} bytes where ${codec.sizeBytes} are needed: the map was made by another version; run heddle cni uninstall and start the agent again`;
    throw new HeddleError('map-value-size', message);
  }
  return codec.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
}

function alignedTo(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

export const u8: Codec<number> = {
  sizeBytes: 1,
  alignBytes: 1,
  write: (into, at, value) => into.writeUInt8(value, at),
  read: (from, at) => from.readUInt8(at),
};

export const u16: Codec<number> = {
  sizeBytes: 2,
  alignBytes: 2,
  write: (into, at, value) => into.writeUInt16LE(value, at),
  read: (from, at) => from.readUInt16LE(at),
};

export const u32: Codec<number> = {
  sizeBytes: 4,
  alignBytes: 4,
  write: (into, at, value) => into.writeUInt32LE(value, at),
  read: (from, at) => from.readUInt32LE(at),
};

export const u64: Codec<bigint> = {
  sizeBytes: 8,
  alignBytes: 8,
  write: (into, at, value) => into.writeBigUInt64LE(value, at),
  read: (from, at) => from.readBigUInt64LE(at),
};

/** A port in network order. */
export const port: Codec<number> = {
  sizeBytes: 2,
  alignBytes: 2,
  write: (into, at, value) => into.writeUInt16BE(value, at),
  read: (from, at) => from.readUInt16BE(at),
};

/** A port in network order that C holds as two bytes, without alignment. */
export const portBytes: Codec<number> = { ...port, alignBytes: 1 };

/** 16 bytes; `read` gives a copy. C holds them as four words, hence the alignment. */
export const address: Codec<AddressBytes> = {
  sizeBytes: ADDRESS_BYTES,
  alignBytes: 4,
  write(into, at, value) {
    if (value.length !== ADDRESS_BYTES)
      throw new HeddleError('address', `an address in a map has 16 bytes, not ${value.length}`);
    value.copy(into, at);
  },
  read: (from, at) => Buffer.from(from.subarray(at, at + ADDRESS_BYTES)),
};

const MAC_TEXT = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** Six bytes as `ee:ee:ee:ee:ee:ee`. */
export const mac: Codec<string> = {
  sizeBytes: 6,
  alignBytes: 1,
  write(into, at, value) {
    if (!MAC_TEXT.test(value))
      throw new HeddleError(
        'mac-address',
        `${JSON.stringify(value)} is no MAC address such as 02:00:00:00:00:01`,
      );
    into.set(Buffer.from(value.replaceAll(':', ''), 'hex'), at);
  },
  read: (from, at) =>
    from
      .subarray(at, at + 6)
      .toString('hex')
      .replace(/..(?=.)/g, '$&:'),
};
