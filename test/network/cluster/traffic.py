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


def big(host, port, count):
    """One datagram of so many bytes and its echo; whether they are the same."""
    sock = udp_socket(family_of(host))
    data = os.urandom(count)
    sock.sendto(data, (host, port))
    back, _ = sock.recvfrom(65536)
    sock.close()
    return back == data


class Steady:
    """Calls of an echo server at a steady rate: `keep` on one connection, `anew` each on its own, `udp` datagrams."""

    def __init__(self, kind, host, port, interval):
        self.kind, self.host, self.port, self.interval = kind, host, port, interval
        self.sent, self.worst, self.errors, self.ending = 0, 0.0, [], False
        self.sock = dial(host, port) if kind == "keep" else udp_socket(family_of(host)) if kind == "udp" else None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def call(self):
        text = str(self.sent).encode()
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
