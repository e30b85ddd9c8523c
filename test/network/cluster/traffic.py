"""More for net.py's programs: servers that keep connections, and traffic at a steady rate that measures itself."""
import time


def echo(host, port):
    """TCP and UDP: what comes in goes back."""
    tcp_socket = listener(host, port)
    udp_socket = socket.socket(family_of(host), socket.SOCK_DGRAM)
    udp_socket.bind((host, port))

    def serve_one(peer):
        try:
            while data := peer.recv(65536):
                peer.sendall(data)
        except OSError:
            pass
        peer.close()

    def accept():
        while True:
            peer, _ = tcp_socket.accept()
            threading.Thread(target=serve_one, args=(peer,), daemon=True).start()

    def answer():
        while True:
            data, address = udp_socket.recvfrom(65536)
            udp_socket.sendto(data, address)

    for task in (accept, answer):
        threading.Thread(target=task, daemon=True).start()


def sink(host, port):
    """TCP: reads all, then tells how many bytes came."""
    server = listener(host, port)

    def accept():
        while True:
            peer, _ = server.accept()
            count = 0
            while data := peer.recv(65536):
                count += len(data)
            peer.sendall(str(count).encode())
            peer.close()

    threading.Thread(target=accept, daemon=True).start()


def source(host, port, count):
    """TCP: gives so many bytes to whoever connects."""
    server = listener(host, port)

    def accept():
        while True:
            peer, _ = server.accept()
            try:
                peer.sendall(b"x" * count)
            except OSError:
                pass
            peer.close()

    threading.Thread(target=accept, daemon=True).start()


def push(host, port, count, timeout=20):
    """How many bytes a sink says it got."""
    sock = dial(host, port, timeout=timeout)
    sock.sendall(b"x" * count)
    sock.shutdown(socket.SHUT_WR)
    text = sock.recv(64).decode()
    sock.close()
    return int(text)


def pull(host, port, timeout=20):
    """How many bytes a source gave."""
    sock = dial(host, port, timeout=timeout)
    count = 0
    while data := sock.recv(65536):
        count += len(data)
    sock.close()
    return count


def big(host, port, count, timeout=3):
    """One datagram of so many bytes and its echo; whether they are the same."""
    sock = udp_socket(family_of(host), timeout)
    data = os.urandom(count)
    sock.sendto(data, (host, port))
    back, _ = sock.recvfrom(65536)
    sock.close()
    return back == data


def question(number, name):
    """A DNS question for an A record (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number & 0xffff, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def answers(packet):
    """The names of a DNS server of the world: every one has one address."""
    end = packet.index(0, 12) + 5
    head = packet[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + packet[12:end]
    return head + bytes.fromhex("c00c000100010000003c0004") + socket.inet_aton("203.0.113.99")


def names(host):
    """Such a server, over UDP."""
    sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
    sock.bind((host, 53))

    def answer():
        while True:
            packet, address = sock.recvfrom(2048)
            sock.sendto(answers(packet), address)

    threading.Thread(target=answer, daemon=True).start()


class Steady:
    """Calls at a steady rate of an echo server, `keep` on one connection, `anew` each on its own, `udp` datagrams; or of a
    DNS server: `dns`, for the address of `name`."""

    def __init__(self, kind, host, port, interval, name=""):
        self.name = name
        self.kind, self.host, self.port, self.interval = kind, host, port, interval
        self.sent, self.worst, self.errors, self.ending = 0, 0.0, [], False
        self.sock = dial(host, port) if kind == "keep" else udp_socket(family_of(host)) if kind in ("udp", "dns") else None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def call(self):
        text = str(self.sent).encode()
        if self.kind == "dns":
            text = question(self.sent, self.name)
            self.sock.sendto(text, (self.host, self.port))
            back, _ = self.sock.recvfrom(2048)
            number, flags, _, found = struct.unpack("!4H", back[:8])
            if number != self.sent & 0xffff or flags & 15 or not found:
                raise RuntimeError(f"the answer {back.hex()}")
            return
        if self.kind == "udp":
            self.sock.sendto(text, (self.host, self.port))
            back, _ = self.sock.recvfrom(2048)
        else:
            sock = self.sock or dial(self.host, self.port)
            sock.sendall(text)
            back = sock.recv(2048)
            if self.kind == "anew":
                sock.close()
        if back != text:
            raise RuntimeError(f"{back} for {text}")

    def run(self):
        due = time.monotonic()
        while not self.ending:
            start = time.monotonic()
            self.sent += 1
            try:
                self.call()
            except Exception as problem:
                self.errors.append(repr(problem))
            self.worst = max(self.worst, time.monotonic() - start)
            due = max(due + self.interval, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))

    def reach(self, count):
        while self.sent < count:
            time.sleep(self.interval)

    def stop(self):
        self.ending = True
        self.thread.join()
        name = f"{self.kind} {self.host} {self.port}"
        return {"name": name, "sent": self.sent, "worstMs": self.worst * 1000, "errors": self.errors[:5]}
