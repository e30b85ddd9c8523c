"""A program in a pod: executes the lines of code it is sent and answers each with one line of JSON."""
import errno, json, os, socket, struct, sys, threading


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listener(host, port, backlog=4096):
    sock = socket.socket(family_of(host))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(backlog)
    return sock


def serve(name, host, port):
    """TCP and UDP: tells each caller the server's name and the caller's address."""
    tcp_socket = listener(host, port)
    udp_socket = socket.socket(family_of(host), socket.SOCK_DGRAM)
    udp_socket.bind((host, port))

    def accept():
        while True:
            peer, address = tcp_socket.accept()
            peer.sendall(f"{name} {address[0]}".encode())
            peer.close()

    def answer():
        while True:
            _, address = udp_socket.recvfrom(2048)
            udp_socket.sendto(f"{name} {address[0]}".encode(), address)

    for task in (accept, answer):
        threading.Thread(target=task, daemon=True).start()


def dial(host, port, source=None, prepare=None, timeout=3):
    sock = socket.socket(family_of(host))
    sock.settimeout(timeout)
    if prepare:
        prepare(sock)
    if source:
        sock.bind(source)
    try:
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def tcp(host, port, **more):
    """What the server says, and who it is as the socket knows."""
    sock = dial(host, port, **more)
    peer = sock.getpeername()[:2]
    text = sock.recv(2048).decode()
    sock.close()
    return [text, *peer]


def udp_socket(family, timeout=3):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    return sock


def ask(sock, host, port):
    sock.sendto(b"?", (host, port))
    text, address = sock.recvfrom(2048)
    return [text.decode(), *address[:2]]


def udp(host, port, connect=False, timeout=3):
    sock = udp_socket(family_of(host), timeout)
    try:
        if not connect:
            return ask(sock, host, port)
        sock.connect((host, port))
        sock.send(b"?")
        text, address = sock.recvfrom(2048)
        if sock.getpeername()[:2] != address[:2]:
            raise RuntimeError(f"{sock.getpeername()} and {address}")
        return [text.decode(), *address[:2]]
    finally:
        sock.close()


uid = int(sys.argv[1])
if uid:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)

space = dict(globals())
print(json.dumps({"result": os.getpid()}), flush=True)
for line in sys.stdin:
    space["result"] = None
    try:
        exec(json.loads(line), space)
        answer = {"result": space["result"]}
    except socket.timeout:
        answer = {"error": "TIMEOUT"}
    except OSError as problem:
        answer = {"error": errno.errorcode.get(problem.errno, str(problem))}
    except Exception as problem:
        answer = {"error": repr(problem)}
    print(json.dumps(answer), flush=True)
