"""Sends crafted packets from many network namespaces and tells which of them arrived, and where.

The first line of standard input names places and probes; later lines are commands, each answered with one line of JSON.
Packets are sent by raw sockets, so that each place's own routes lead them. Taps stand behind the programs of tc and before
the place's transport protocols: what they see, the place has received.
"""
import ctypes, json, socket, struct, sys

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
SOL_PACKET, SO_RCVBUFFORCE = 263, 33
CLONE_NEWNET = 0x40000000
RECEIVE_BYTES = 32 << 20
MAGIC = b"HDLP"
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
libc = ctypes.CDLL(None, use_errno=True)


def enter(netns):
    with open(netns) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {netns}")


def crc32c_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


CRC32C = list(crc32c_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def words(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


class Place:
    def __init__(self, netns, addresses, device=None):
        self.addresses = set(addresses)
        enter(netns)
        self.senders = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            self.senders[family] = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.taps = []
        for protocol in (ETH_P_IP, ETH_P_IPV6):
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
            tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
            if device:
                tap.bind((device, protocol))
            tap.setblocking(False)
            self.taps.append((protocol, tap))


class Probe:
    """One packet, whole but for what differs from round to round: its source port and the number of the round."""

    def __init__(self, index, place, source, destination, protocol, port):
        self.index, self.source, self.destination = index, source, destination
        self.protocol, self.port = PROTOCOLS[protocol], port
        self.family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        self.socket = place.senders[self.family]
        ends = socket.inet_pton(self.family, source) + socket.inet_pton(self.family, destination)
        self.head, self.tail = self.transport(protocol)
        length = len(self.head) + (4 if protocol == "SCTP" else 2) + len(self.tail) + 8
        self.pseudo = words(ends) + self.protocol + length
        self.ip = (
            struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, self.protocol, 0) + ends
            if self.family == socket.AF_INET
            else struct.pack("!IHBB", 6 << 28, length, self.protocol, 64) + ends
        )

    def transport(self, protocol):
        """The parts before and behind the checksum; ports are written later."""
        if protocol == "TCP":
            return struct.pack("!HHIIBBH", 0, self.port, 1, 0, 5 << 4, 2, 65535), b"\0\0"
        if protocol == "UDP":
            return struct.pack("!HHH", 0, self.port, 16), b""
        init = struct.pack("!BBHIIHHI", 1, 0, 32, 1, 65535, 1, 1, 1) + struct.pack("!HH", 0xC000, 12)
        return struct.pack("!HHI", 0, self.port, 0), init

    def send(self, round_, source_port):
        head = struct.pack("!H", source_port) + self.head[2:]
        tail = self.tail + MAGIC + struct.pack("!HH", round_, self.index)
        if self.protocol == 132:
            checksum = struct.pack("<I", crc32c(head + b"\0\0\0\0" + tail))
        else:
            total = self.pseudo + words(head) + words(tail)
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            checksum = struct.pack("!H", ~total & 0xFFFF or 0xFFFF)
        self.socket.sendto(self.ip + head + checksum + tail, (self.destination, 0))


def read_packet(protocol, data):
    """Source, transport protocol, destination and its port, and what identifies a probe; None for anything else."""
    if protocol == ETH_P_IP:
        if len(data) < 36 or data[0] != 0x45:
            return None
        family, transport, ends, end = socket.AF_INET, data[9], data[12:20], struct.unpack_from("!H", data, 2)[0]
        start = 20
    else:
        if len(data) < 56:
            return None
        family, transport, ends = socket.AF_INET6, data[6], data[8:40]
        start, end = 40, 40 + struct.unpack_from("!H", data, 4)[0]
    if data[end - 8 : end - 4] != MAGIC:
        return None
    half = len(ends) // 2
    source, destination = (socket.inet_ntop(family, one) for one in (ends[:half], ends[half:]))
    port = struct.unpack_from("!H", data, start + 2)[0]
    return source, transport, destination, port, *struct.unpack_from("!HH", data, end - 4)


class Prober:
    def __init__(self, places, probes):
        self.places = [Place(**one) for one in places]
        owners = {address: place for place in self.places for address in place.addresses}
        self.probes = [Probe(index, owners[one[0]], *one) for index, one in enumerate(probes)]

    def send(self, round, first, end):
        for probe in self.probes[first:end]:
            probe.send(round, 20000 + round % 40000)
        return {}

    def arrived(self, round):
        """Probes of the round that their receivers got since the last look; `renamed` with the source they came by."""
        arrived, renamed, astray = [], {}, []
        for place in self.places:
            for protocol, tap in place.taps:
                for data in everything(tap):
                    found = read_packet(protocol, data)
                    if found is None:
                        continue
                    source, transport, destination, port, its_round, index = found
                    probe = self.probes[index] if its_round == round and index < len(self.probes) else None
                    # The outer packet of a tunnel ends in the same bytes, and a node sees what it only forwards.
                    if probe is None or transport != probe.protocol or port != probe.port:
                        continue
                    if destination != probe.destination:
                        astray.append(index)
                    elif destination in place.addresses:
                        arrived.append(index)
                        if source != probe.source:
                            renamed[index] = source
        return {"arrived": arrived, "renamed": renamed, "astray": astray}


def everything(tap):
    while True:
        try:
            yield tap.recv(2048)
        except BlockingIOError:
            return


prober = Prober(**json.loads(sys.stdin.readline()))
print(json.dumps({"probes": len(prober.probes)}), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(getattr(prober, command.pop("do"))(**command)), flush=True)
