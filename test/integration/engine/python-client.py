"""Python's own HTTP client, which sends its whole body before it reads: one line for each answer."""

import http.client
import sys

port = int(sys.argv[1])


def ask(connection, method, url, **how):
    connection.request(method, url, **how)
    answer = connection.getresponse()
    print(answer.status, len(answer.read()))


kept = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
for _ in range(3):
    ask(kept, "GET", f"http://{sys.argv[2]}/file")
ask(kept, "POST", f"http://{sys.argv[2]}/length", body=(b"x" * 1000 for _ in range(50)), encode_chunked=True)
ask(kept, "HEAD", f"http://{sys.argv[2]}/file")
early = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
ask(early, "POST", f"http://{sys.argv[2]}/early", body=b"x" * 50_000_000)
