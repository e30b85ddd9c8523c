import { isKernelError } from '../errors.ts';
import { attribute, type Family, ipBytes, readAttributes, readIp, readU32, u8, u32 } from './attributes.ts';
import { CREATE, EXCLUSIVE, type Netlink } from './socket.ts';

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const HEAD_BYTES = 12;
const FRA = { DST: 1, PRIORITY: 6, FWMARK: 10, TABLE: 15, FWMASK: 16, PROTOCOL: 21 };
const FR_ACT_TO_TBL = 1;

/** A rule of the routing policy that leads to a table, see ip-rule(8). */
export interface Rule {
  readonly family: Family;
  readonly priority: number;
  readonly table: number;
  readonly mark?: number;
  readonly mask?: number;
  /** `fe80::/10` */
  readonly to?: string;
  /** Who made it (`rtm_protocol`). */
  readonly protocol?: number;
}

/** Throws `EEXIST` where there is the same, whoever made it. */
export function addRule(netlink: Netlink, rule: Rule): void {
  netlink.change({
    what: `add the rule of priority ${rule.priority}`,
    type: RTM_NEWRULE,
    flags: CREATE | EXCLUSIVE,
    body: bodyOf(rule),
  });
}

/** Whether there was one. */
export function deleteRule(netlink: Netlink, rule: Rule): boolean {
  try {
    netlink.change({
      what: `delete the rule of priority ${rule.priority}`,
      type: RTM_DELRULE,
      body: bodyOf(rule),
    });
    return true;
  } catch (thrown) {
    if (isKernelError(thrown, 'ENOENT')) return false;
    throw thrown;
  }
}

/** Those that lead to a table. */
export function listRules(netlink: Netlink, family: Family): readonly Rule[] {
  const body = Buffer.alloc(HEAD_BYTES);
  body.writeUInt8(family, 0);
  return netlink
    .dump({ what: 'list rules', type: RTM_GETRULE, body: [body] })
    .filter((one) => one.readUInt8(7) === FR_ACT_TO_TBL)
    .map((one) => readRule(one, family));
}

function bodyOf(rule: Rule): readonly Buffer[] {
  const [host = '', bits = '0'] = rule.to?.split('/') ?? [];
  // `struct fib_rule_hdr`
  const head = Buffer.alloc(HEAD_BYTES);
  head.set([rule.family, rule.to === undefined ? 0 : Number(bits)]);
  head.writeUInt8(FR_ACT_TO_TBL, 7);
  return [
    head,
    u32(FRA.PRIORITY, rule.priority),
    u32(FRA.TABLE, rule.table),
    ...(rule.protocol === undefined ? [] : [u8(FRA.PROTOCOL, rule.protocol)]),
    ...(rule.to === undefined ? [] : [attribute(FRA.DST, ipBytes(host))]),
    ...(rule.mark === undefined
      ? []
      : [u32(FRA.FWMARK, rule.mark), u32(FRA.FWMASK, rule.mask ?? 0xffff_ffff)]),
  ];
}

function readRule(body: Buffer, family: Family): Rule {
  const all = readAttributes(body, HEAD_BYTES);
  const mark = readU32(all.get(FRA.FWMARK));
  const mask = readU32(all.get(FRA.FWMASK));
  const to = readIp(all.get(FRA.DST));
  const protocol = all.get(FRA.PROTOCOL)?.[0];
  return {
    family,
    // The kernel leaves 0 out.
    priority: readU32(all.get(FRA.PRIORITY)) ?? 0,
    table: readU32(all.get(FRA.TABLE)) ?? body.readUInt8(4),
    ...(mark === undefined ? {} : { mark, mask: mask ?? 0xffff_ffff }),
    ...(to === undefined ? {} : { to: `${to}/${body.readUInt8(1)}` }),
    ...(protocol === undefined ? {} : { protocol }),
  };
}
