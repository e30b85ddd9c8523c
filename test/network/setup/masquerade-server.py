"""Tells each client by which address it came, on port 8080 of both families."""

import socket
import socketserver


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        address = self.client_address[0].removeprefix("::ffff:")
        self.request.sendall(address.encode())


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


with Server(("::", 8080), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
