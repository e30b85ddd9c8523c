/** Reads the type information (BTF) of a compiled eBPF object: as much as tests need of ELF64 and of linux/btf.h. */

export interface BtfMember {
  readonly name: string;
  readonly typeId: number;
  readonly offsetBytes: number;
}

interface BtfType {
  readonly kind: number;
  readonly name: string;
  /** Size, or the type referred to, as the kind has it. */
  readonly sizeOrType: number;
  readonly members: readonly BtfMember[];
  readonly element?: { readonly typeId: number; readonly count: number };
}

const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
};
const KIND_FUNC_PROTO = 13;
const KIND_VAR = 14;
const KIND_DATASEC = 15;
const KIND_DECL_TAG = 17;
const KIND_ENUM64 = 19;
const POINTER_BYTES = 8;
const TYPE_HEADER_BYTES = 12;

export class Btf {
  /** By id; 0 is void. */
  readonly #types: readonly BtfType[];

  constructor(elf: Buffer) {
    this.#types = readTypes(section(elf, '.BTF'));
  }

  struct(name: string): { readonly sizeBytes: number; readonly members: readonly BtfMember[] } | undefined {
    const found = this.#types.find((type) => type.kind === KIND.STRUCT && type.name === name);
    return found === undefined ? undefined : { sizeBytes: found.sizeOrType, members: found.members };
  }

  sizeOf(typeId: number): number {
    const type = this.#type(typeId);
    if (type.kind === KIND.PTR) return POINTER_BYTES;
    if (type.element !== undefined) return type.element.count * this.sizeOf(type.element.typeId);
    const named = [KIND.TYPEDEF, KIND.VOLATILE, KIND.CONST, KIND.RESTRICT].includes(type.kind);
    return named ? this.sizeOf(type.sizeOrType) : type.sizeOrType;
  }

  /** Maps as `SEC(".maps")` declares them: attribute → the number or the size of the type that it points to. */
  maps(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    const found = new Map<string, ReadonlyMap<string, number>>();
    for (const variable of this.#types.filter(({ kind }) => kind === KIND_VAR)) {
      const declared = this.#type(variable.sizeOrType);
      if (!declared.members.some(({ name }) => name === 'type')) continue;
      found.set(variable.name, new Map(declared.members.map((one) => [one.name, this.#attribute(one)])));
    }
    return found;
  }

  /** `__uint(a, 5)` is a pointer to int[5], `__type(key, T)` a pointer to T. */
  #attribute(member: BtfMember): number {
    const target = this.#type(member.typeId).sizeOrType;
    if (member.name === 'key' || member.name === 'value') return this.sizeOf(target);
    return this.#type(target).element?.count ?? 0;
  }

  #type(id: number): BtfType {
    const type = this.#types[id];
    if (type === undefined) throw new Error(`BTF has no type ${id}`);
    return type;
  }
}

function section(elf: Buffer, wanted: string): Buffer {
  const at = Number(elf.readBigUInt64LE(40));
  const entryBytes = elf.readUInt16LE(58);
  const header = (index: number) => elf.subarray(at + index * entryBytes, at + (index + 1) * entryBytes);
  const body = (one: Buffer) => {
    const start = Number(one.readBigUInt64LE(24));
    return elf.subarray(start, start + Number(one.readBigUInt64LE(32)));
  };
  const names = body(header(elf.readUInt16LE(62)));
  for (let index = 0; index < elf.readUInt16LE(60); index++) {
    if (textAt(names, header(index).readUInt32LE(0)) === wanted) return body(header(index));
  }
  throw new Error(`the object has no section ${wanted}`);
}

function textAt(bytes: Buffer, at: number): string {
  return bytes.toString('latin1', at, bytes.indexOf(0, at));
}

function readTypes(btf: Buffer): readonly BtfType[] {
  const headerBytes = btf.readUInt32LE(4);
  const types = btf.subarray(headerBytes + btf.readUInt32LE(8)).subarray(0, btf.readUInt32LE(12));
  const strings = btf.subarray(headerBytes + btf.readUInt32LE(16));
  const found: BtfType[] = [{ kind: 0, name: 'void', sizeOrType: 0, members: [] }];
  for (let at = 0; at < types.length; ) {
    const info = types.readUInt32LE(at + 4);
    const count = info & 0xffff;
    const kind = (info >> 24) & 0x1f;
    const base = {
      kind,
      name: textAt(strings, types.readUInt32LE(at)),
      sizeOrType: types.readUInt32LE(at + 8),
    };
    at += TYPE_HEADER_BYTES;
    const more = types.subarray(at);
    const members = kind === KIND.STRUCT || kind === KIND.UNION ? readMembers(more, count, strings) : [];
    const element = { typeId: kind === KIND.ARRAY ? more.readUInt32LE(0) : 0, count: 0 };
    if (kind === KIND.ARRAY) element.count = more.readUInt32LE(8);
    found.push(kind === KIND.ARRAY ? { ...base, members, element } : { ...base, members });
    at += trailerBytes(kind, count);
  }
  return found;
}

function readMembers(bytes: Buffer, count: number, strings: Buffer): readonly BtfMember[] {
  return Array.from({ length: count }, (_, index) => ({
    name: textAt(strings, bytes.readUInt32LE(index * 12)),
    typeId: bytes.readUInt32LE(index * 12 + 4),
    offsetBytes: bytes.readUInt32LE(index * 12 + 8) / 8,
  }));
}

/** What follows the header of a type, by kind. */
function trailerBytes(kind: number, count: number): number {
  switch (kind) {
    case KIND.INT:
    case KIND_VAR:
    case KIND_DECL_TAG:
      return 4;
    case KIND.ARRAY:
      return 12;
    case KIND.STRUCT:
    case KIND.UNION:
    case KIND_DATASEC:
    case KIND_ENUM64:
      return 12 * count;
    case KIND.ENUM:
    case KIND_FUNC_PROTO:
      return 8 * count;
    default:
      return 0;
  }
}
