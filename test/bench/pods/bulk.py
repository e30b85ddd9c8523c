# Downloads one file again and again for some seconds on one connection: `bulk.py ADDRESS:PORT PATH SECONDS`. What it saw is
# one line of JSON, as load.lua writes it. wrk reads 8 KiB at a time, which would cost more than the network.
import json
import socket
import sys
import time

target, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
host, port = target.rsplit(":", 1)
connection = socket.create_connection((host, int(port)), timeout=5)
question = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
buffer = bytearray(1 << 20)
started = now = time.monotonic()
requests = received = failed = 0
while now < started + seconds:
    connection.sendall(question)
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(1024)
        if not more:
            raise SystemExit("the server closed the connection")
        head += more
    lines, body = head.split(b"\r\n\r\n", 1)
    if not lines.startswith(b"HTTP/1.1 200 "):
        failed += 1
    left = int(lines.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
    received += len(head) + left
    while left > 0:
        count = connection.recv_into(buffer, min(left, len(buffer)))
        if count == 0:
            raise SystemExit("the server closed the connection")
        left -= count
    requests += 1
    now = time.monotonic()
micros = int((now - started) * 1e6)
figures = {"requests": requests, "durationUs": micros, "bytes": received, "failed": failed}
print(json.dumps({**figures, "p50Us": 0, "p99Us": 0, "maxUs": 0}))
