import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type BpfLink, type BpfObject, createLink, openObject } from '../../../cni/kernel/libbpf.ts';
import { DIRECTION } from '../../../cni/maps/constants.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { compileBpf } from '../../support/network/compile-bpf.ts';
import { eventually } from '../../support/wait.ts';
import type { Program } from '../sockets/program.ts';
import { SocketWorld, type TestPod } from '../sockets/world.ts';
import { SIDECAR_UID, SidecarProcess } from './sidecar-process.ts';

leakCheck();

const object = compileBpf(fileURLToPath(new URL('fixtures/syn-probe.c', import.meta.url)));
const SO_MARK = 36;
const IP_TRANSPARENT = 19;
const IPV6_TRANSPARENT = 75;
const IPPROTO_MPTCP = 262;

/** Python that builds a TCP SYN (RFC 9293, section 3.1) with its checksum, for an IPv4 packet of a raw socket. */
const RAW_SYN = `
def syn(source, target, port):
    def checksum(data):
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        return ~total & 0xffff
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = lambda sum: struct.pack("!HHIIBBHHH", 40000, port, 7, 0, 5 << 4, 2, 64240, sum, 0)
    return head(checksum(ends + struct.pack("!BBH", 0, 6, 20) + head(0)))
`;

describe('in a meshed pod', () => {
  let world: SocketWorld;
  let meshed: TestPod;
  let plain: TestPod;
  let probe: BpfObject;
  let link: BpfLink;
  let sidecar: SidecarProcess;
  /** Root with every capability, and the sidecar's own user, both in containers of the app. */
  const programs: Record<string, Program> = {};

  before(async () => {
    world = new SocketWorld();
    meshed = world.pod(11, 'meshed');
    plain = world.pod(12);
    probe = openObject(object).reuseMaps(world.object.maps).load();
    link = createLink(probe.program('count_syns'), {
      ...{ target: meshed.ifindex, type: 'tcx_ingress', netns: world.nodeNetns },
    });
    sidecar = await SidecarProcess.start(world, meshed);
    programs.root = await world.program(meshed, 'app', 0);
    programs.impostor = await world.program(meshed, 'init', SIDECAR_UID);
    const peer = await world.program(plain);
    for (const address of [plain.ip4, plain.ip6]) await peer.run(`serve("p12", "${address}", 8080)`);
    await root().run(RAW_SYN);
  });
  after(async () => {
    await sidecar.stop();
    link[Symbol.dispose]();
    probe[Symbol.dispose]();
    await world.close();
  });
  beforeEach(() => {
    sidecar.told.length = 0;
    for (const who of [0, 1]) probe.map('syn_count_map').update(u32(who), Buffer.alloc(8));
  });

  const root = () => programOf('root');
  function programOf(name: string): Program {
    const program = programs[name];
    if (program === undefined) throw new Error(`no program ${name}`);
    return program;
  }

  function syns(): { readonly others: number; readonly sidecar: number } {
    const count = (who: number) =>
      Number(probe.map('syn_count_map').lookup(u32(who))?.readBigUInt64LE() ?? -1n);
    return { others: count(0), sidecar: count(1) };
  }

  /** The sidecar had it, and no SYN but the sidecar's left the pod. */
  async function assertCaptured(): Promise<void> {
    await eventually(() => sidecar.told.length > 0, { deadlineMs: 5_000, what: 'the sidecar has it' });
    assert.equal(sidecar.told[0]?.way, 'outbound');
    await eventually(() => syns().sidecar > 0, { deadlineMs: 5_000, what: 'the sidecar dials' });
    assert.equal(syns().others, 0);
  }

  for (const family of ['ip4', 'ip6'] as const) {
    it(`the sidecar's uid alone is not enough: ${family}`, async () => {
      await programOf('impostor').run(`tcp("${plain[family]}", 8080)`);
      await assertCaptured();
    });

    it(`a mark of the app's own gives way: ${family}`, async () => {
      const mark = `lambda s: s.setsockopt(socket.SOL_SOCKET, ${SO_MARK}, 0x20)`;
      await root().run(`tcp("${plain[family]}", 8080, prepare=${mark})`);
      await assertCaptured();
    });

    it(`a socket bound to the pod's device is refused: ${family}`, async () => {
      const bind = 'lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\\0")';
      const dial = `tcp("${plain[family]}", 8080, prepare=${bind})`;
      for (const name of ['root', 'impostor']) assert.equal(await programOf(name).error(dial), 'EPERM');
      assert.deepEqual([sidecar.told, syns()], [[], { others: 0, sidecar: 0 }]);
    });

    it(`a transparent socket with another's address is captured: ${family}`, async () => {
      const option =
        family === 'ip4' ? `socket.SOL_IP, ${IP_TRANSPARENT}` : `socket.IPPROTO_IPV6, ${IPV6_TRANSPARENT}`;
      const source = family === 'ip4' ? '10.244.7.77' : 'fd10:7::77';
      const prepare = `lambda s: s.setsockopt(${option}, 1)`;
      await root().error(
        `tcp("${plain[family]}", 8080, source=("${source}", 0), prepare=${prepare}, timeout=0.5)`,
      );
      await assertCaptured();
    });

    it(`a transparent listener does not get what others send out: ${family}`, async () => {
      const option =
        family === 'ip4' ? `socket.SOL_IP, ${IP_TRANSPARENT}` : `socket.IPPROTO_IPV6, ${IPV6_TRANSPARENT}`;
      await root().run(`
trap = socket.socket(family_of("${plain[family]}"))
trap.setsockopt(${option}, 1)
trap.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
trap.bind(("${plain[family]}", 8080))
trap.listen()`);
      const [text] = (await root().value(`tcp("${plain[family]}", 8080)`)) as [string];
      assert.match(text, /^p12 /);
      await root().run('trap.close()');
      await assertCaptured();
    });

    it(`data with the SYN is captured: ${family}`, async () => {
      await root().run(`
fast = socket.socket(family_of("${plain[family]}"))
fast.sendto(b"?", socket.MSG_FASTOPEN, ("${plain[family]}", 8080))
fast.close()`);
      await assertCaptured();
    });

    it(`a socket that dialled loopback first is captured at its second: ${family}`, async () => {
      const own = family === 'ip4' ? '127.0.0.1' : '::1';
      await root().run(`
first = listener("${own}", 7001)
twice = dial("${own}", 7001)
import ctypes
if ctypes.CDLL(None, use_errno=True).connect(twice.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16):
    raise OSError(ctypes.get_errno(), "disconnect")
twice.connect(("${plain[family]}", 8080))
twice.close()
first.close()`);
      await assertCaptured();
    });
  }

  it('a Service that is skipped is reached, by that socket once and nowhere else', async () => {
    const key = { podId: meshed.podId, port: 9090, direction: DIRECTION.EGRESS };
    world.set(TABLES.skippedPort, key, 1);
    world.service({ address: addressBytes('10.96.7.7'), port: 9090 }, [[plain.ip4, 8080]]);
    await root().run(`
import ctypes
skips = dial("10.96.7.7", 9090)
text = skips.recv(100)
if ctypes.CDLL(None, use_errno=True).connect(skips.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16):
    raise OSError(ctypes.get_errno(), "disconnect")
result = text.decode()`);
    // Its own SYN, let through as the sidecar's would be.
    assert.deepEqual([sidecar.told, syns()], [[], { others: 0, sidecar: 1 }]);
    await root().run(`
skips.connect(("${plain.ip4}", 8080))
skips.close()`);
    await assertCaptured();
    world.delete(TABLES.skippedPort, key);
  });

  it('an MPTCP socket is captured', async (context) => {
    const made = await root().error(
      `socket.socket(socket.AF_INET, socket.SOCK_STREAM, ${IPPROTO_MPTCP}).close()`,
    );
    if (!made.startsWith('none')) return context.skip(`this kernel has no MPTCP: ${made}`);
    await root().run(`
many = socket.socket(socket.AF_INET, socket.SOCK_STREAM, ${IPPROTO_MPTCP})
many.settimeout(3)
many.connect(("${plain.ip4}", 8080))
many.close()`);
    await assertCaptured();
  });

  it('the link-local address of the node is refused', async () => {
    const dial = 'dial("fe80::1%eth0", 8080, timeout=0.5)';
    assert.equal(await root().error(dial), 'EPERM');
    assert.equal(syns().others, 0);
  });

  it('SYNs of raw and packet sockets have no tag, so that the pod network drops them', async () => {
    await root().run(`
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.bind(("${meshed.ip4}", 0))
raw.sendto(syn("${meshed.ip4}", "${plain.ip4}", 8080), ("${plain.ip4}", 0))
raw.close()`);
    await eventually(() => syns().others === 1, { deadlineMs: 5_000, what: 'the SYN of the raw socket' });
    await root().run(`
packet = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, socket.inet_aton("${meshed.ip4}"), socket.inet_aton("${plain.ip4}"))
packet.sendto(head + syn("${meshed.ip4}", "${plain.ip4}", 8080), ("eth0", 0x0800, 0, 0, b"\\xee" * 6))
packet.close()`);
    await eventually(() => syns().others === 2, { deadlineMs: 5_000, what: 'the SYN of the packet socket' });
    assert.equal(syns().sidecar, 0);
  });

  it('who binds the sidecar ports while it is away gets nothing, and keeps others from nothing', async () => {
    await sidecar.stop();
    for (const name of ['root', 'impostor']) {
      await programOf(name).run(`
traps = [listener(host, port) for host in ("127.0.0.1", "::1") for port in (15001, 15006)]
for trap in traps: trap.settimeout(0.3)`);
      for (const family of ['ip4', 'ip6'] as const)
        assert.equal(await root().error(`tcp("${plain[family]}", 8080)`), 'ECONNREFUSED');
      for (let index = 0; index < 4; index++)
        assert.equal(await programOf(name).error(`traps[${index}].accept()`), 'TIMEOUT');
      for (const port of [15001, 15006])
        for (const family of [4, 6]) {
          const key = { podId: meshed.podId, port, family };
          assert.equal(listenerHeld(key), false, JSON.stringify(key));
        }
      await programOf(name).run('for trap in traps: trap.close()');
    }
    assert.equal(syns().others, 0);
    sidecar = await SidecarProcess.start(world, meshed);
    await root().run(`tcp("${plain.ip4}", 8080)`);
    await assertCaptured();
  });

  function listenerHeld(key: { podId: number; port: number; family: number }): boolean {
    const bytes = Buffer.alloc(TABLES.listener.key.sizeBytes);
    TABLES.listener.key.write(bytes, 0, key);
    return world.object.map('listener_map').lookup(bytes) !== undefined;
  }
});

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
