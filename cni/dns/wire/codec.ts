import packet from 'dns-packet';

/** Writes the data of one record type, its length in front; `bytes` is how many the last call wrote. */
interface DataEncoder {
  (data: unknown, target: Buffer, offset: number): unknown;
  bytes: number;
}

/** The part of dns-packet that its published types leave out. */
interface RecordCodecs {
  record(type: string): { readonly encode: DataEncoder };
}

const codecs = packet as unknown as RecordCodecs;

/** Writes a record's data with its length in front; gives back the offset behind it. */
export function encodeRecordData(type: string, data: unknown, target: Buffer, offset: number): number {
  const { encode } = codecs.record(type);
  encode(data, target, offset);
  return offset + encode.bytes;
}
