"""A proxy that loses posts and answers: of four posts of a client the first and the third arrive, but it hears nothing of them; the
second does not arrive; it sends each of these again. The fourth goes well.

    lossy.py PORT UPSTREAM     prints a line once it listens

Any other request is passed on as it is, with its answer. `GET /lost` says how many were lost so far.
"""

import http.client
import http.server
import sys
import threading

LOCK = threading.Lock()
POSTS = {"all": 0, "lost": 0}


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def passed_on(self) -> None:
        if self.path == "/lost":
            return self.answer(200, {}, str(POSTS["lost"]).encode())
        length = int(self.headers.get("content-length") or 0)
        host, port = sys.argv[2].removeprefix("http://").split(":")
        upstream = http.client.HTTPConnection(host, int(port), timeout=30)
        body = self.rfile.read(length) if length else self.chunks()
        if self.command == "POST":
            with LOCK:
                POSTS["all"] += 1
                number = POSTS["all"] % 4
            if number == 2:
                return self.lost()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        headers["content-length"] = str(len(body))
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        body = answer.read()
        upstream.close()
        if self.command == "POST" and answer.status < 300 and number in (1, 3):
            return self.lost()
        hop = ("connection", "transfer-encoding", "content-length")
        return self.answer(answer.status, {name: value for name, value in answer.getheaders() if name.lower() not in hop}, body)

    do_GET = do_POST = do_OPTIONS = passed_on

    def lost(self) -> None:
        with LOCK:
            POSTS["lost"] += 1
        self.close_connection = True

    def chunks(self) -> bytes:
        body = b""
        if "chunked" not in (self.headers.get("transfer-encoding") or ""):
            return body
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status: int, headers: dict, body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Proxy)
print("listening", flush=True)
server.serve_forever()
