import { TYPE } from './numbers.ts';

export interface SoaData {
  readonly mname: string;
  readonly rname: string;
  readonly serial: number;
  /** Seconds, here and below. */
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  readonly minimum: number;
}

export interface SrvData {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

/** The data of each type that the cluster's own zone holds, in the shape that dns-packet writes. */
interface DataOf {
  readonly A: string;
  readonly AAAA: string;
  readonly CNAME: string;
  readonly NS: string;
  readonly PTR: string;
  readonly SOA: SoaData;
  readonly SRV: SrvData;
  readonly TXT: string;
  readonly HINFO: { readonly cpu: string; readonly os: string };
}

type OwnType = keyof DataOf;

/** A record of class IN. Names are lower case, without the last dot. */
export interface OwnRecord {
  readonly name: string;
  readonly type: number;
  /** Seconds. */
  readonly ttl: number;
  /** The type as dns-packet names it. */
  readonly typeName: string;
  readonly data: unknown;
}

export function record<T extends OwnType>(name: string, type: T, ttl: number, data: DataOf[T]): OwnRecord {
  return { name, type: TYPE[type], ttl, typeName: type, data };
}
