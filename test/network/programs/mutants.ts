import { PROTOCOL } from '../../../cni/maps/constants.ts';
import type { Random } from '../../../common/random.ts';
import { type Crafted, datagram, echo, ethernet, fragments, HEADER, icmpError } from '../packets/craft.ts';
import { type Family, HOSTS } from '../packets/datapath.ts';

const ETHERNET_BYTES = 14;
/** Headers that mutations aim at: Ethernet, IPv6 with two extensions, the transport header. */
const HEADERS_BYTES = ETHERNET_BYTES + 96;
/** The kernel refuses test runs of less than an IP header. */
const SHORTEST_BYTES = ETHERNET_BYTES + 40;
const CHANGES_MAX = 4;
const KINDS = [0x0800, 0x86dd, 0x0806, 0x8847, 0x8100];
const ADDRESSES = Object.values(HOSTS);
const BROADCASTS: readonly { readonly 4: string; readonly 6: string }[] = [
  { 4: '0.0.0.0', 6: '::' },
  { 4: '255.255.255.255', 6: 'ff02::1' },
  { 4: '127.0.0.1', 6: '::1' },
  { 4: '169.254.1.1', 6: 'fe80::1' },
];

/** Draws packets: sound ones, and what mutations make of them. */
export class Mutants {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A frame of at least an IP header. */
  next(): Buffer {
    const sound = this.#sound();
    const changes = this.#below(CHANGES_MAX + 1);
    let bytes = sound;
    for (let n = 0; n < changes; n++) bytes = this.#mutated(bytes);
    if (bytes.length >= SHORTEST_BYTES) return bytes;
    return Buffer.concat([bytes, Buffer.alloc(SHORTEST_BYTES - bytes.length)]);
  }

  #below(end: number): number {
    return Math.floor(this.#random.next() * end);
  }

  #one<T>(of: readonly T[]): T {
    const found = of[this.#below(of.length)];
    if (found === undefined) throw new Error('nothing to draw from');
    return found;
  }

  #bytes(count: number): Buffer {
    return Buffer.from(this.#random.hex(count), 'hex');
  }

  /** A pod's own address half of the time, so that packets come past the first check. */
  #source(family: Family): string {
    if (this.#below(2) === 0) return HOSTS.a[family];
    return this.#one([...ADDRESSES, ...BROADCASTS])[family];
  }

  #sound(): Buffer {
    const family: Family = this.#one([4, 6]);
    const from = this.#source(family);
    const to = this.#one([...ADDRESSES, ...BROADCASTS])[family];
    const plain: Crafted = {
      ...{ from, to, protocol: this.#one([...Object.values(PROTOCOL), 0, 47, 59]) },
      ...{
        sourcePort: this.#one([53, 8080, 40_001]),
        destinationPort: this.#one([53, 80, 8080, 30_080, 4789]),
      },
      ...{ flags: this.#below(64), payload: this.#bytes(this.#below(200)) },
    };
    const shape = this.#below(8);
    if (shape === 0) return ethernet(datagram(echo(from, to, 7, this.#below(2) === 0)));
    if (shape === 1) {
      const about = { ...plain, from: to, to: from, protocol: this.#one(Object.values(PROTOCOL)) };
      return ethernet(datagram(icmpError(from, about, this.#one(['unreachable', 'too big', 'expired']))));
    }
    if (shape === 2) {
      const whole = { ...plain, protocol: PROTOCOL.UDP, payload: this.#bytes(120) };
      return ethernet(datagram(this.#one(fragments(whole, 48, this.#below(4)))));
    }
    if (shape === 3) return ethernet(datagram({ ...plain, protocol: PROTOCOL.ICMPV6, body: this.#icmp6() }));
    if (shape === 4 && family === 4) return ethernet(datagram({ ...plain, optionWords: this.#below(11) }));
    if (shape === 4) return ethernet(datagram({ ...plain, extensions: this.#extensions() }));
    return ethernet(datagram(plain));
  }

  /** Of any kind, those among neighbours more often than others. */
  #icmp6(): Buffer {
    const body = this.#bytes(64);
    body.writeUInt8(this.#one([128, 130, 131, 133, 134, 135, 136, 137, 143, this.#below(256)]), 0);
    return body;
  }

  #extensions(): readonly (readonly [number, Buffer])[] {
    return Array.from({ length: 1 + this.#below(8) }, () => {
      const kind = this.#one([0, ...Object.values(HEADER)]);
      const rest = this.#bytes(this.#one([7, 15, 23]));
      // Its length, right half of the time.
      rest.writeUInt8(this.#below(2) === 0 ? (rest.length + 1) / 8 - 1 : this.#below(256), 0);
      return [kind, rest] as const;
    });
  }

  #mutated(bytes: Buffer): Buffer {
    const changed = Buffer.from(bytes);
    const at = this.#below(Math.min(changed.length, HEADERS_BYTES));
    switch (this.#below(6)) {
      case 0:
        changed.writeUInt8(this.#below(256), at);
        return changed;
      case 1:
        changed.writeUInt8((changed[at] ?? 0) ^ (1 << this.#below(8)), at);
        return changed;
      case 2:
        return changed.subarray(
          0,
          SHORTEST_BYTES + this.#below(Math.max(1, changed.length - SHORTEST_BYTES)),
        );
      case 3:
        return Buffer.concat([changed, this.#bytes(this.#below(80))]);
      case 4:
        // Bytes moved to another place: a header in a header.
        this.#bytes(1 + this.#below(40)).copy(changed, at);
        return changed;
      default:
        changed.writeUInt16BE(this.#one([...KINDS, this.#below(0x1_0000)]), this.#one([12, 16, 18, 20]));
        return changed;
    }
  }
}
