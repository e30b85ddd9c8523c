/** Numbers of the IANA registry "Domain Name System (DNS) Parameters". */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** Extended (RFC 6891): its upper bits stand in the OPT record. */
  BADVERS: 16,
} as const;

const RCODE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(RCODE).map(([name, code]) => [code, name]),
);

export function rcodeName(rcode: number): string {
  return RCODE_NAMES.get(rcode) ?? String(rcode);
}

export const CLASS_IN = 1;

/** Bits of the header's second word (RFC 1035 section 4.1.1, RFC 4035 section 3). */
export const FLAG = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
} as const;

export const HEADER_BYTES = 12;
/** An OPT record without options (RFC 6891 section 6.1.2). */
export const OPT_BYTES = 11;
/** Of a query without EDNS, the largest answer over UDP (RFC 1035 section 4.2.1). */
export const PLAIN_UDP_BYTES = 512;
/** What goes through every path without fragments (DNS flag day 2020); larger offers of clients are cut to it. */
export const EDNS_UDP_BYTES = 1232;
export const TCP_MESSAGE_BYTES_MAX = 65_535;
