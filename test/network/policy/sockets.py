"""Helpers beside those of net.py: many callers at once, and connections that stay open."""
flying, answers = {}, {}


def begin(targets):
    for sock in flying:
        sock.close()
    flying.clear()
    answers.clear()
    for index, (protocol, host, port) in enumerate(targets):
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        sock = socket.socket(family_of(host), kind)
        sock.setblocking(False)
        sock.connect_ex((host, port))
        if protocol == "UDP":
            sock.send(b"?")
        flying[sock] = index


def look():
    for sock in list(flying):
        try:
            answer = sock.recv(2048).decode()
        except BlockingIOError:
            continue
        except OSError as problem:
            answer = errno.errorcode[problem.errno]
        answers[flying.pop(sock)] = answer
        sock.close()
    return answers


def wait_for_caller(host, port):
    """One that stays: `peer`, once it is there."""
    one = listener(host, port)

    def accept():
        global peer
        peer, _ = one.accept()
        peer.setblocking(False)

    threading.Thread(target=accept, daemon=True).start()


def heard(sock):
    """All that came and wasn't read yet."""
    try:
        return sock.recv(2048).decode()
    except BlockingIOError:
        return ""
