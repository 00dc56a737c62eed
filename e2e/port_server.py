"""A web server for inside a session: `python3 port_server.py PORT...`. Returns once it listens, and goes on behind.

It is what tests of port links talk to: each path does one thing that a server may do, well or badly.
"""

import base64
import hashlib
import http.server
import json
import os
import socketserver
import struct
import sys
import threading
import urllib.parse

PIECE = 1 << 16
events = {}

PAGE = b"""<!doctype html><title>inside</title><link rel="stylesheet" href="style.css"><p id="said">waiting</p>
<script src="script.js"></script>"""
SCRIPT = b"""
const said = text => { document.getElementById('said').textContent = text }
fetch('echo').then(answer => answer.json()).then(echo => {
  const socket = new WebSocket(new URL('ws', location.href.replace(/^http/, 'ws')))
  socket.onopen = () => socket.send(`${echo.method} ${echo.path}`)
  socket.onmessage = message => said(message.data)
})"""

# What a hostile server answers, byte for byte.
RAW = {
    "garbage": b"\x00\xff\x13\x37 this is not HTTP\r\n\r\n",
    "nothing": b"",
    "old": b"just text, as in 1991",
    "cut-head": b"HTTP/1.1 200 OK\r\nContent-Len",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "bad-length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bad-name": b"HTTP/1.1 200 OK\r\nX A\x00: b\r\nContent-Length: 0\r\n\r\n",
    "bad-value": b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n",
    "bad-status": b"HTTP/1.1 99999 OK\r\nContent-Length: 0\r\n\r\n",
    "many-headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(1000)) + b"\r\n",
    "huge-header": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * (4 << 20) + b"\r\nContent-Length: 0\r\n\r\n",
    "unasked-upgrade": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
}
# Heads that are fine, with bodies that are not.
RAW_BODIES = {
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
    "cut-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
}
# Answers in which something is wrong that the client must not see.
RAW_WHOLE = {
    "split": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "both": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "close": b"HTTP/1.0 200 OK\r\n\r\nhello",
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        """Reads the request's body; only its length and digest are kept."""
        digest, length = hashlib.sha256(), 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                digest.update(self.rfile.read(size))
                length += size
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers.get("Content-Length", 0))
        while left and (piece := self.rfile.read(min(left, PIECE))):
            digest.update(piece)
            length += len(piece)
            left -= len(piece)
        return length, digest.hexdigest()

    def answer(self, content, kind="text/plain", status=200, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(content)

    def chunk(self, content):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        name = url.path.rsplit("/", 1)[-1]
        if name == "ws":
            return self.websocket()
        if name == "upper":
            return self.upper()
        if name == "refuse":
            self.close_connection = True
            return self.answer(b"too much", status=413)
        length, digest = self.body()
        if url.path in ("/", "/nested/"):
            self.answer(PAGE, "text/html")
        elif name == "style.css":
            self.answer(b"#said { color: rgb(1, 2, 3) }", "text/css")
        elif name == "script.js":
            self.answer(SCRIPT, "text/javascript")
        elif name == "flood":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(int(query["bytes"]) // PIECE):
                self.chunk(bytes(PIECE))
            self.chunk(b"")
        elif name == "events":
            released = events.setdefault(query["id"], threading.Event())
            self.send_response(200)
            self.send_header("Content-Type", query.get("type", "text/event-stream"))
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.chunk(b"data: first\n\n")
            released.wait(60)
            self.chunk(b"data: second\n\n")
            self.chunk(b"")
        elif name == "hold":
            events.setdefault(query["id"], threading.Event()).wait(60)
            self.answer(b"held")
        elif name == "release":
            events.setdefault(query["id"], threading.Event()).set()
            self.answer(b"released")
        elif name == "status":
            self.answer(b"x", status=int(query["code"]))
        elif name == "move":
            self.answer(b"", status=302, headers=[("Location", query["to"])])
        elif name == "cookie":
            self.answer(b"", headers=[("Set-Cookie", query["cookie"]), ("Service-Worker-Allowed", "/"),
                                      ("Set-Cookie", "second=1")])
        elif name == "raw":
            self.close_connection = True
            self.wfile.write({**RAW, **RAW_BODIES, **RAW_WHOLE}[query["what"]])
        else:
            self.answer(json.dumps({
                "method": self.command, "path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()},
                "length": length, "sha256": digest, "port": self.server.server_address[1],
            }).encode(), "application/json", headers=[("X-Request-Id", "mine")])

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            kind, length = head[0] & 15, head[1] & 127
            if length == 126:
                length, = struct.unpack(">H", self.rfile.read(2))
            elif length == 127:
                length, = struct.unpack(">Q", self.rfile.read(8))
            mask, masked = self.rfile.read(4), self.rfile.read(length)
            content = (int.from_bytes(masked, "big") ^ int.from_bytes(
                (mask * (length // 4 + 1))[:length], "big")).to_bytes(length, "big")
            size = (bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length) if length < 65536
                    else b"\x7f" + struct.pack(">Q", length))
            self.wfile.write(bytes([0x80 | kind]) + size + content)
            if kind == 8:
                return

    def upper(self):
        """Not WebSocket: answers each line in capitals, then says goodbye when the client ends its direction."""
        self.send_response(101)
        self.send_header("Upgrade", "upper")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.close_connection = True
        while line := self.rfile.readline():
            self.wfile.write(line.upper())
        self.wfile.write(b"goodbye\n")


for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE"):
    setattr(Handler, f"do_{method}", Handler.handle_any)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128


def main():
    servers = [Server(("127.0.0.1", int(port)), Handler) for port in sys.argv[1:]]
    if os.fork():
        return
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
