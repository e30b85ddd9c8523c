export interface Authority {
  readonly host: string;
  readonly port: number;
}

/** RFC 3986, section 3.2.2: no name is longer than DNS has it. */
const HOST_CHARS_MAX = 255;

const HOST = new Uint8Array(256);
for (const char of "-._~!$&'()*+,;=%0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  HOST[char.charCodeAt(0)] = 1;
}

/**
 * Host and port of `uri-host [":" port]` (RFC 9110, section 7.2), never empty and without user information. A missing port is `portDefault`, or a fault where that is undefined. Brackets of an IPv6 address are
 * taken off.
 */
export function parseAuthority(text: string, portDefault: number | undefined): Authority | undefined {
  let hostEnd = 0;
  let host: string;
  if (text.charCodeAt(0) === 0x5b) {
    hostEnd = text.indexOf(']') + 1;
    host = text.slice(1, hostEnd - 1);
    if (hostEnd < 4 || !isAddressText(host)) return undefined;
  } else {
    while (HOST[text.charCodeAt(hostEnd)] === 1) hostEnd++;
    host = text.slice(0, hostEnd);
    if (host === '' || hostEnd > HOST_CHARS_MAX) return undefined;
  }
  if (hostEnd === text.length) {
    return portDefault === undefined ? undefined : { host, port: portDefault };
  }
  if (text.charCodeAt(hostEnd) !== 0x3a) return undefined;
  const digits = text.slice(hostEnd + 1);
  if (digits === '') return portDefault === undefined ? undefined : { host, port: portDefault };
  if (digits.length > 5) return undefined;
  let port = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = digits.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    port = port * 10 + digit;
  }
  return port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

function isAddressText(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    if (!'0123456789abcdefABCDEF:.'.includes(text.charAt(index))) return false;
  }
  return text.includes(':');
}

/** Hosts remembered at one time; one more, and all are read anew. */
export const hostsReadMax = 256;
const HTTP_PORT = 80;
const read = new Map<string, Authority>();

/** The authority of a Host field, port 80 unless it says otherwise. Clients say the same few over and over. */
export function parseHost(text: string): Authority | undefined {
  const known = read.get(text);
  if (known !== undefined) return known;
  // A copy: a part of the head's text would keep all of it.
  const copy = Buffer.from(text, 'latin1').toString('latin1');
  const authority = parseAuthority(copy, HTTP_PORT);
  if (authority === undefined) return undefined;
  if (read.size >= hostsReadMax) read.clear();
  read.set(copy, authority);
  return authority;
}
