# SPDX-License-Identifier: MIT
"""protocols.py PROTOCOL PORT DIRECTORY [CERTIFICATE KEY]: a server for one of curl's protocols.

Knows as much of it as curl uses: it has the file "data" of the directory under every name that a
client reads, and puts what a client sends into "got". With a certificate it speaks TLS from the
first byte; ftp and smtp offer it after a command as well if CERTIFICATE begins with "+". Serves a
thread for each connection until it is killed; says "up" once it listens.
"""
import os
import re
import socket
import ssl
import struct
import sys
import threading

PROTOCOL, PORT, DIRECTORY = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LATER = len(sys.argv) > 4 and sys.argv[4].startswith("+")
TLS = None
if len(sys.argv) > 4:
    TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Who closes with these unread resets the connection, and what was sent is lost.
    TLS.num_tickets = 0
    TLS.load_cert_chain(sys.argv[4].lstrip("+"), sys.argv[5])
DATA = open(os.path.join(DIRECTORY, "data"), "rb").read()


def keep(content):
    # At once: who waits for it sees all of it or none.
    path = os.path.join(DIRECTORY, "got")
    with open(path + ".new", "wb") as f:
        f.write(content)
    os.rename(path + ".new", path)


class Lines:
    """A connection of lines; each line received has no end, each one sent gets one."""

    def __init__(self, sock):
        self.over(sock)

    def over(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")

    def get(self):
        line = self.file.readline()
        return line.decode("latin1").rstrip("\r\n") if line else None

    def commands(self):
        while (line := self.get()) is not None:
            yield line

    def say(self, *lines):
        self.sock.sendall("".join(line + "\r\n" for line in lines).encode("latin1"))

    def until_dot(self):
        content = b""
        while (line := self.file.readline()) not in (b".\r\n", b""):
            content += line[1:] if line.startswith(b".") else line
        return content


def dotted(content):
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]


def dict_(sock):
    c = Lines(sock)
    c.say("220 judge <x@y>")
    for line in c.commands():
        word = line.split()
        if word[0] == "DEFINE":
            c.say("150 1 definitions", '151 "%s" d "words"' % word[2], "means " + word[2], ".", "250 ok")
        elif word[0] == "QUIT":
            return c.say("221 bye")
        else:
            c.say("250 ok")


def gopher(sock):
    selector = Lines(sock).get()
    sock.sendall(b"selector %s\n" % selector.encode() + DATA)


def telnet(sock):
    """Negotiates two options; says in capitals what it hears."""
    IAC, WILL, DO, TERMINAL, BINARY = 255, 251, 253, 24, 0
    sock.sendall(bytes([IAC, DO, TERMINAL, IAC, WILL, BINARY]))
    expected = [bytes([IAC, WILL, TERMINAL]), bytes([IAC, DO, BINARY])]
    heard, text = b"", b""
    while not (text.endswith(b"end\n") and all(e in heard for e in expected)):
        heard += sock.recv(4096) or exit()
        # What is negotiated is no text.
        text = re.sub(rb"\xff[\xfb-\xfe].", b"", heard, flags=re.S)
    sock.sendall(text.upper())
    # What else is negotiated may still come: a close before that would be a reset.
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(4096):
        pass


def ftp(sock):
    c = Lines(sock)
    private, listener, active, offset, passive = TLS is not None and not LATER, None, None, 0, []

    def data():
        if active:
            s = socket.create_connection(active)
        else:
            s, _ = listener.accept()
            listener.close()
        return TLS.wrap_socket(s, server_side=True) if private else s

    c.say("220 judge")
    private = False
    for line in c.commands():
        command, _, rest = line.partition(" ")
        if command == "USER":
            c.say("331 and the password?")
        elif command == "PASS":
            c.say("230 in" if rest == "secret" else "530 no")
        elif command == "AUTH" and LATER:
            c.say("234 go on")
            c.over(TLS.wrap_socket(sock, server_side=True))
        elif command == "PROT":
            private = rest == "P"
            c.say("200 ok")
        elif command in ("EPSV", "PASV"):
            listener, active = socket.create_server(("127.0.0.1", 0)), None
            port = listener.getsockname()[1]
            if command == "EPSV":
                c.say("229 there (|||%d|)" % port)
            else:
                c.say("227 there (127,0,0,1,%d,%d)" % divmod(port, 256))
        elif command == "EPRT":
            _, _, host, port, _ = rest.split("|")
            active = host, int(port)
            c.say("200 ok")
        elif command == "SIZE":
            c.say("213 %d" % len(DATA))
        elif command == "REST":
            offset = int(rest)
            c.say("350 from there")
        elif command in ("RETR", "LIST", "NLST"):
            content = DATA[offset:] if command == "RETR" else b"data\r\nother\r\n"
            offset = 0
            c.say("150 here it is (%d bytes)" % len(content))
            with data() as d:
                d.sendall(content)
                if isinstance(d, ssl.SSLSocket):
                    d.unwrap()
            c.say("226 done")
        elif command in ("STOR", "APPE"):
            c.say("150 go on")
            with data() as d:
                content = b"".join(iter(lambda: d.recv(1 << 16), b""))
            keep(content)
            c.say("226 done")
        elif command == "PWD":
            c.say('257 "/"')
        elif command == "QUIT":
            return c.say("221 bye")
        elif command in ("CWD", "TYPE", "PBSZ", "ABOR"):
            c.say("250 ok" if command == "CWD" else "200 ok")
        else:
            c.say("502 no " + command)


def smtp(sock):
    c = Lines(sock)
    envelope = []
    c.say("220 judge ESMTP")
    for line in c.commands():
        command = line.split(" ")[0].upper()
        if command == "EHLO":
            c.say("250-judge", "250-SIZE 100000000", *["250-STARTTLS"] * LATER, "250 AUTH PLAIN")
        elif command == "STARTTLS" and LATER:
            c.say("220 go on")
            c.over(TLS.wrap_socket(sock, server_side=True))
        elif command == "AUTH":
            if line == "AUTH PLAIN":
                c.say("334 ")
                line += " " + c.get()
            # "\0judge\0secret"
            c.say("235 in" if line.endswith("AGp1ZGdlAHNlY3JldA==") else "535 no")
        elif command in ("MAIL", "RCPT"):
            envelope.append(re.sub(" SIZE.*", "", line))
            c.say("550 nobody" if "nobody" in line else "250 ok")
        elif command == "DATA":
            c.say("354 go on")
            keep("\n".join(envelope).encode() + b"\n" + c.until_dot())
            c.say("250 got it")
        elif command == "QUIT":
            return c.say("221 bye")
        else:
            c.say("250 ok")


def pop3(sock):
    c = Lines(sock)
    c.say("+OK judge")
    for line in c.commands():
        command = line.split(" ")[0]
        if command == "CAPA":
            c.say("+OK", "USER", ".")
        elif command == "PASS":
            c.say("+OK" if line == "PASS secret" else "-ERR")
        elif command == "LIST":
            c.say("+OK", "1 %d" % len(DATA), "2 7", ".")
        elif command == "RETR":
            c.say("+OK")
            c.sock.sendall(dotted(DATA) + b"\r\n.\r\n")
        elif command == "QUIT":
            return c.say("+OK")
        else:
            c.say("+OK")


def imap(sock):
    c = Lines(sock)
    c.say("* OK judge")
    for line in c.commands():
        tag, command, *rest = line.replace(" UID ", " ").split(" ")
        if command == "CAPABILITY":
            c.say("* CAPABILITY IMAP4rev1")
        elif command == "LOGIN" and rest != ["judge", "secret"]:
            c.say(tag + " NO")
            continue
        elif command == "SELECT":
            c.say("* 1 EXISTS", "* OK [UIDVALIDITY 7]")
        elif command == "LIST":
            c.say('* LIST (\\Noselect) "/" box')
        elif command == "FETCH":
            c.sock.sendall(b"* 1 FETCH (BODY[] {%d}\r\n" % len(DATA) + DATA + b")\r\n")
        elif command == "APPEND":
            c.say("+ go on")
            keep(c.file.read(int(re.search(r"\{(\d+)\}", line)[1])))
            c.get()
        elif command == "LOGOUT":
            return c.say("* BYE", tag + " OK")
        c.say(tag + " OK done")


def rtsp(sock):
    c = Lines(sock)
    for line in c.commands():
        headers = dict(h.split(": ", 1) for h in iter(c.get, ""))
        method = line.split(" ")[0]
        c.say("RTSP/1.0 200 OK", "CSeq: " + headers["CSeq"], "Public: DESCRIBE, OPTIONS",
              "X-Asked: " + method, "")


def length(n):
    """As MQTT has it: seven bits a byte."""
    out = b""
    while True:
        n, low = divmod(n, 128)
        out += bytes([low | 128 * (n > 0)])
        if not n:
            return out


def mqtt(sock):
    f = sock.makefile("rb")
    while first := f.read(1):
        size, shift, byte = 0, 0, 128
        while byte & 128:
            byte = f.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
        body = f.read(size)
        kind = first[0] >> 4
        if kind == 1:
            sock.sendall(b"\x20\x02\0\0")
        elif kind == 8:
            topic = body[4 : 4 + struct.unpack_from(">H", body, 2)[0]]
            sock.sendall(b"\x90\x03" + body[:2] + b"\0")
            content = struct.pack(">H", len(topic)) + topic + DATA
            sock.sendall(b"\x30" + length(len(content)) + content)
            sock.sendall(b"\xe0\0")  # the end, so that curl ends
        elif kind == 3:
            keep(body[2 + struct.unpack_from(">H", body)[0] :])
        elif kind == 14:
            return


def ber(tag, *parts):
    content = b"".join(parts)
    n = len(content)
    size = bytes([n]) if n < 128 else b"\x84" + struct.pack(">I", n)
    return bytes([tag]) + size + content


def element(f):
    """A tag and a content of LDAP."""
    head = f.read(2)
    if len(head) < 2:
        return None, b""
    n = head[1]
    return head[0], f.read(int.from_bytes(f.read(n & 127), "big") if n & 128 else n)


def ldap(sock):
    f = sock.makefile("rb")
    result = ber(0x0A, b"\0") + ber(4) + ber(4)
    while True:
        tag, message = element(f)
        if tag is None:
            return
        number, op = message[: 2 + message[1]], message[2 + message[1]]
        if op == 0x60:
            sock.sendall(ber(0x30, number, ber(0x61, result)))
        elif op == 0x63:
            values = ber(0x31, ber(4, b"judge"), ber(4, DATA[:300].hex().encode()))
            entry = ber(4, b"cn=judge,o=example"), ber(0x30, ber(0x30, ber(4, b"cn"), values))
            sock.sendall(ber(0x30, number, ber(0x64, *entry)))
            sock.sendall(ber(0x30, number, ber(0x65, result)))
        elif op == 0x42:
            return


def tftp(sock):
    """Each transfer from a port of its own, by blocks of the size that the client asks for."""
    while True:
        request, peer = sock.recvfrom(2048)
        threading.Thread(target=transfer, args=(request, peer), daemon=True).start()


def transfer(request, peer):
    ACK = 4
    words = request[2:].split(b"\0")
    options = dict(zip(words[2::2], words[3::2]))
    size = int(options.get(b"blksize", 512))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.connect(peer)
        s.settimeout(2)

        def exchange(packet, answer):
            while True:
                s.send(packet)
                try:
                    while not (got := s.recv(65536)).startswith(answer):
                        pass
                    return got
                except TimeoutError:
                    pass

        sends = request[1] == 1
        accepted = b"\0\6" + b"blksize\0%d\0" % size
        if sends:
            accepted += b"tsize\0%d\0" % len(DATA) if b"tsize" in options else b""
            if options:
                exchange(accepted, b"\0\4\0\0")
            for i in range(len(DATA) // size + 1):
                number = struct.pack(">H", (i + 1) & 0xFFFF)
                exchange(b"\0\3" + number + DATA[i * size : (i + 1) * size], b"\0\4" + number)
            return
        content, i, packet = b"", 0, accepted if options else b"\0\4\0\0"
        while len(content) == i * size:
            i += 1
            number = struct.pack(">H", i & 0xFFFF)
            content += exchange(packet, b"\0\3" + number)[4:]
            packet = b"\0" + bytes([ACK]) + number
        keep(content)
        s.send(packet)


def connection(sock, serve):
    try:
        with sock:
            if TLS and not LATER:
                sock = TLS.wrap_socket(sock, server_side=True)
            serve(sock)
            if isinstance(sock, ssl.SSLSocket):
                sock.unwrap()
    except (ConnectionError, ssl.SSLError, OSError) as e:
        # curl ends some of its connections as it likes.
        print(e, file=sys.stderr, flush=True)


if PROTOCOL == "tftp":
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", PORT))
    print("up", flush=True)
    tftp(server)
server = socket.create_server(("127.0.0.1", PORT))
print("up", flush=True)
serve = globals()["dict_" if PROTOCOL == "dict" else PROTOCOL]
while True:
    accepted, _ = server.accept()
    threading.Thread(target=connection, args=(accepted, serve), daemon=True).start()
