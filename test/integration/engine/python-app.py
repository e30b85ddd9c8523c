"""Python's own HTTP server as an app: files of the directory it runs in, and the length of what is sent to it."""

import http.server
import sys


class App(http.server.SimpleHTTPRequestHandler):
    protocol_version = sys.argv[1]

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            length = self.read_chunks()
        else:
            length = len(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self.answer(f"{self.command} {length}")

    do_PUT = do_POST
    do_DELETE = do_POST

    def read_chunks(self):
        length = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            length += len(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline() != b"\r\n":
            pass
        return length

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
print(server.server_address[1], flush=True)
server.serve_forever()
