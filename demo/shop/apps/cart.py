"""The cart: kept in memory, one for everybody. Plain Python, nothing but its standard library."""
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 64 * 1024
ITEMS_MAX = 20
lock = threading.Lock()
items = ["yarn"]


class Cart(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other: without this the second waits for the first to be acknowledged.
    disable_nagle_algorithm = True

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, {"ok": True})
        elif self.path == "/cart":
            with lock:
                self.answer(200, {"items": list(items)})
        else:
            self.answer(404, {"error": "cart has no " + self.path})

    def do_POST(self):
        size = int(self.headers.get("content-length") or 0)
        if size > BODY_BYTES_MAX:
            return self.answer(413, {"error": "the body is too large"})
        body = self.rfile.read(size)
        if self.path == "/cart":
            with lock:
                items.append(str(json.loads(body).get("id", "")))
                del items[:-ITEMS_MAX]
                self.answer(200, {"items": list(items)})
        elif self.path == "/empty":
            with lock:
                items.clear()
                self.answer(200, {"items": []})
        else:
            self.answer(404, {"error": "cart has no " + self.path})

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer((os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))), Cart)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("cart listens on %s:%d" % server.server_address, flush=True)
server.serve_forever()
sys.exit(0)
