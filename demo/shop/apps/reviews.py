"""Reviews: every tenth answer is slow. Plain Python, nothing but its standard library."""
import json
import os
import random
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW_PERCENT = float(os.environ.get("SLOW_PERCENT", "10"))
SLOW_SECONDS = float(os.environ.get("SLOW_SECONDS", "0.8"))
REVIEWS = [
    {"stars": 5, "text": "Every thread passes through. Not one lost."},
    {"stars": 4, "text": "Wove my first scarf in a weekend."},
    {"stars": 5, "text": "The shuttle flies by itself."},
]


class Reviews(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other: without this the second waits for the first to be acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path not in ("/healthz", "/reviews"):
            return self.answer(404, {"error": "reviews has no " + self.path})
        if self.path == "/healthz":
            return self.answer(200, {"ok": True})
        if random.random() * 100 < SLOW_PERCENT:
            time.sleep(SLOW_SECONDS)
        self.answer(200, {"reviews": REVIEWS})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer((os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))), Reviews)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("reviews listens on %s:%d" % server.server_address, flush=True)
server.serve_forever()
sys.exit(0)
