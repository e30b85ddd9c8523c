import { fileURLToPath } from 'node:url';
import { type BpfObject, openObject } from '../../../cni/kernel/libbpf.ts';
import { encode, struct, u32 } from '../../../cni/maps/struct.ts';
import { addressBytes, isMapped } from '../../../common/address.ts';
import { compileBpf } from '../../support/network/compile-bpf.ts';
import type { Crafted } from '../packets/craft.ts';
import type { Datapath, Outcome, ProgramName, RunOptions } from '../packets/datapath.ts';

const OBJECT = compileBpf(fileURLToPath(new URL('fixtures/with-tunnel-key.c', import.meta.url)));
/** `struct outer` of the fixture, but the words of an IPv6 address. */
const outerHead = struct('outer', { vni: u32, isV6: u32, ip4: u32 });

export const VNI = { PODS: 1, EXTERNAL: 2 } as const;

/** The outer packet of one that came by the tunnel. */
export interface Outer {
  readonly from: string;
  readonly vni: number;
}

/** The tunnel's device: gives packets the key of their outer header before a program of the node sees them. */
export class Overlay implements Disposable {
  readonly #path: Datapath;
  readonly #object: BpfObject;

  constructor(path: Datapath) {
    this.#path = path;
    this.#object = openObject(OBJECT).load();
  }

  run(program: ProgramName, packet: Crafted | Buffer, { from, vni }: Outer, options?: RunOptions): Outcome {
    const address = addressBytes(from);
    const isV6 = isMapped(address) ? 0 : 1;
    const head = encode(outerHead, { vni, isV6, ip4: address.readUInt32BE(12) });
    this.#object.map('outer_map').update(encode(u32, 0), Buffer.concat([head, address]));
    const { fd } = this.#path.object.program(program);
    this.#object.map('program_map').update(encode(u32, 0), encode(u32, fd));
    return this.#path.runProgram(this.#object.program('with_tunnel_key'), packet, options);
  }

  [Symbol.dispose](): void {
    this.#object[Symbol.dispose]();
  }
}
