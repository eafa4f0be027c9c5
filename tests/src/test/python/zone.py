# SPDX-License-Identifier: MIT
"""zone.py PORT ADDRESS...: name servers for zone.example, and at PORT a page that has the name.

All servers have the same names but for two: of failing.zone.example only the second knows anything,
of lost.zone.example the first hears only the second time. What does not fit 512 bytes is cut over
UDP. Says "up" once they listen; at SIGTERM, by which transport and server it told what it told of
the names that are about that.
"""
import http.server
import signal
import socket
import socketserver
import struct
import sys
import threading

A, CNAME, SOA, PTR, MX, TXT, AAAA, SRV = 1, 5, 6, 12, 15, 16, 28, 33
NXDOMAIN, SERVFAIL = 3, 2
TELLING = ("many.", "failing.", "lost.")


def name(text):
    return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".") if p) + b"\0"


def v4(text):
    return A, socket.inet_aton(text)


def v6(text):
    return AAAA, socket.inet_pton(socket.AF_INET6, text)


def mail(text):
    return MX, struct.pack(">H", 10) + name(text)


ZONE = {
    "host.zone.example": [v4("192.0.2.10"), v6("2001:db8::10"), mail("v4.zone.example")],
    "v4.zone.example": [v4("192.0.2.4")],
    "v6.zone.example": [v6("2001:db8::6")],
    "alias.zone.example": [(CNAME, name("second.zone.example"))],
    "second.zone.example": [(CNAME, name("host.zone.example"))],
    "many.zone.example": [v4("198.51.100.%d" % i) for i in range(1, 61)],
    "failing.zone.example": [v4("192.0.2.12")],
    "lost.zone.example": [v4("192.0.2.13")],
    "text.zone.example": [(TXT, b"\x05first\x06second")],
    "_ob._tcp.zone.example": [(SRV, struct.pack(">HHH", 1, 2, 8000) + name("v4.zone.example"))],
    "web.zone.example": [v4("127.0.0.5")],
    # Whether a name with a dot is looked for in the domains first: that is an option.
    "deep.host": [v4("192.0.2.66")],
    "deep.host.zone.example": [v4("192.0.2.20")],
    "only.other.example": [v4("192.0.2.30")],
    "10.2.0.192.in-addr.arpa": [(PTR, name("host.zone.example"))],
}
seen = set()
lost = set()


def question(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack_from(">H", query, at + 1)[0], at + 5


def records(asked, kind):
    found = []
    while asked in ZONE:
        alias = [data for k, data in ZONE[asked] if k == CNAME]
        found += [(asked, k, data) for k, data in ZONE[asked] if k == kind or k == CNAME]
        if not alias or kind == CNAME:
            break
        asked = ".".join(p.decode() for p in split(alias[0]))
    return found, asked in ZONE


def split(wire):
    while wire[0]:
        yield wire[1 : 1 + wire[0]]
        wire = wire[1 + wire[0] :]


def answer(query, server, transport):
    """The response, or None for a query that is lost."""
    asked, kind, end = question(query)
    if asked.startswith(TELLING):
        seen.add((asked, transport, "server %d" % server))
    if asked.startswith("lost.") and (server, kind) not in lost:
        lost.add((server, kind))
        return None
    code = 0
    found, exists = records(asked, kind)
    if asked.startswith("broken.") or (asked.startswith("failing.") and server == 1):
        code, found = SERVFAIL, []
    elif not exists:
        code = NXDOMAIN
    body = b"".join(
        name(owner) + struct.pack(">HHIH", k, 1, 60, len(data)) + data for owner, k, data in found
    )
    cut = transport == "udp" and end + len(body) > 512
    header = query[:2] + struct.pack(
        ">HHHHH", 0x8580 | 0x200 * cut | code, 1, 0 if cut else len(found), 0, 0
    )
    return header + query[12:end] + (b"" if cut else body)


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        query, sock = self.request
        response = answer(query, self.server.number, "udp")
        if response:
            sock.sendto(response, self.client_address)


class Streams(socketserver.StreamRequestHandler):
    def handle(self):
        while length := self.rfile.read(2):
            query = self.rfile.read(struct.unpack(">H", length)[0])
            response = answer(query, self.server.number, "tcp")
            if response:
                self.wfile.write(struct.pack(">H", len(response)) + response)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("page of %s\n" % self.headers["Host"].split(":")[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def serve(kind, address, handler, number=0):
    kind.allow_reuse_address = kind.daemon_threads = True
    kind.request_queue_size = 64
    server = kind(address, handler)
    server.number = number
    threading.Thread(target=server.serve_forever, daemon=True).start()


# For all threads, or one of them could be who gets it, and all end: sigwait(3).
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
for i, address in enumerate(sys.argv[2:], 1):
    serve(socketserver.ThreadingUDPServer, (address, 53), Datagrams, i)
    serve(socketserver.ThreadingTCPServer, (address, 53), Streams, i)
serve(socketserver.ThreadingTCPServer, ("127.0.0.5", int(sys.argv[1])), Page)
print("up", flush=True)
signal.sigwait({signal.SIGTERM})
for line in sorted(seen):
    print(*line)
