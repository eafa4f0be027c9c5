# SPDX-License-Identifier: MIT
"""Packets of netfilter's queues 5 (of what leaves for port 7000) and 6 (of what arrives for 7001)."""
import errno, select, socket, struct

NETLINK_NETFILTER, QUEUE = 12, 3
PACKET, VERDICT, CONFIG = 0, 1, 2
REQUEST, ACK = 1, 4
# attributes of a packet, a verdict and a configuration (linux/netfilter/nfnetlink_queue.h)
PACKET_HDR, VERDICT_HDR, IFINDEX_IN, IFINDEX_OUT, PAYLOAD = 1, 2, 5, 6, 10
CFG_CMD, CFG_PARAMS = 1, 2
BIND, COPY_PACKET, DROP, ACCEPT = 1, 2, 0, 1


class Refused(Exception):
    pass


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(kind, flags, queue, *attributes):
    body = struct.pack("=BB", 0, 0) + struct.pack(">H", queue) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), QUEUE << 8 | kind, flags, 1, 0) + body


class Queue:
    def __init__(self, number):
        self.number = number
        self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.s.bind((0, 0))
        self.ask(CONFIG, attribute(CFG_CMD, struct.pack(">BxH", BIND, 0)))
        self.ask(CONFIG, attribute(CFG_PARAMS, struct.pack(">IB", 0xFFFF, COPY_PACKET)))

    def ask(self, kind, *attributes):
        self.s.send(message(kind, REQUEST | ACK, self.number, *attributes))
        answer = self.s.recv(8192)
        error = struct.unpack_from("=i", answer, 16)[0]
        if error:
            raise Refused(errno.errorcode[-error])

    def packet(self):
        """(its number, the datagram, the interface)"""
        if not select.select([self.s], [], [], 10)[0]:
            return None
        m = self.s.recv(70000)
        at, found = 20, {}
        while at < len(m):
            length, kind = struct.unpack_from("=HH", m, at)
            found[kind & 0x3FFF] = m[at + 4 : at + length]
            at += length + 3 & ~3
        index = struct.unpack(">I", found.get(IFINDEX_OUT) or found[IFINDEX_IN])[0]
        return found[PACKET_HDR][:4], found[PAYLOAD], socket.if_indextoname(index)

    def verdict(self, packet, what, payload=None):
        head = attribute(VERDICT_HDR, struct.pack(">I", what) + packet)
        more = [attribute(PAYLOAD, payload)] if payload else []
        self.s.send(message(VERDICT, REQUEST, self.number, head, *more))


def receiver(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", port))
    return s


def arrived(s, count):
    got = []
    while len(got) < count and select.select([s], [], [], 10)[0]:
        got.append(s.recv(99))
    return got + ([b"more"] if select.select([s], [], [], 0.1)[0] else [])


out, into = receiver(7000), receiver(7001)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
# Without a program at its end the one queue drops, and the other lets pass.
try:
    sender.sendto(b"nobody", ("127.0.0.1", 7000))
except PermissionError:
    pass
sender.sendto(b"nobody", ("127.0.0.1", 7001))
print("nobody decides:", len(arrived(into, 1)) - len(arrived(out, 0)))

q = Queue(5)
for word in b"accept", b"drop", b"change":
    sender.sendto(word, ("127.0.0.1", 7000))
    number, datagram, interface = q.packet()
    print("seen", datagram[28:], "on", interface)
    if word == b"change":
        # IP header and ports stay; a checksum of 0 is none.
        changed = datagram[:26] + b"\0\0" + datagram[:27:-1].upper()
        q.verdict(number, ACCEPT, changed)
    else:
        q.verdict(number, ACCEPT if word == b"accept" else DROP)
print("arrived", arrived(out, 2))

r = Queue(6)
sender.sendto(b"in", ("127.0.0.1", 7001))
number, datagram, interface = r.packet()
print("seen", datagram[28:], "on", interface)
r.verdict(number, ACCEPT)
print("arrived", arrived(into, 1))

sender.sendto(b"waits", ("127.0.0.1", 7001))
r.packet()
with open("/proc/net/netfilter/nfnetlink_queue") as f:
    lines = {int(l.split()[0]): l.split() for l in f}
print("queue 6:", lines[6][2], "waiting")
try:
    r.ask(VERDICT, attribute(VERDICT_HDR, struct.pack(">II", ACCEPT, 9999)))
except Refused as e:
    print("a verdict about no packet", e)
