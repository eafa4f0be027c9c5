# SPDX-License-Identifier: MIT
"""Rings of packet sockets, used as packet(7) and packet_mmap.rst say; prints what is the same everywhere."""
import errno, mmap, os, select, signal, socket, struct, time

SOL_PACKET, RX_RING, STATISTICS, AUXDATA, VERSION, RESERVE = 263, 5, 6, 8, 10, 12
V1, V2, V3 = 0, 1, 2
SIZE, BLOCKS, FRAME = 8192, 4, 2048
FRAMES = SIZE // FRAME * BLOCKS


def refused(what, call):
    try:
        call()
        print(what, "allowed")
    except OSError as e:
        print(what, errno.errorcode[e.errno])


def opened(version, kind=socket.SOCK_RAW):
    s = socket.socket(socket.AF_PACKET, kind, 0)
    s.setsockopt(SOL_PACKET, VERSION, version)
    return s


def request(version, size=SIZE, blocks=BLOCKS, frame=FRAME, frames=None, tov=30, private=0):
    n = FRAMES if frames is None else frames
    plain = struct.pack("4I", size, blocks, frame, n)
    return plain + struct.pack("3I", tov, private, 0) if version == V3 else plain


def ring(s, version, **how):
    s.setsockopt(SOL_PACKET, RX_RING, request(version, **how))
    memory = mmap.mmap(s.fileno(), SIZE * BLOCKS, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    s.bind(("lo", 3))
    return memory


sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
PORT = receiver.getsockname()[1]
sender.bind(("127.0.0.1", 0))


def send(*sizes):
    """Datagrams over loopback: each is seen twice, as it goes out and as it comes in."""
    for n in sizes:
        sender.sendto(bytes(i % 251 for i in range(n)), ("127.0.0.1", PORT))


def mine(packet, link=14):
    return packet[link + 9] == 17 and struct.unpack_from("!H", packet, link + 22)[0] == PORT


def address(memory, at):
    family, protocol, index, hardware, kind, length = struct.unpack_from("=HHIHBB", memory, at)
    return family, socket.ntohs(protocol), index, hardware, kind, length


def ready(s, milliseconds=0):
    p = select.poll()
    p.register(s, select.POLLIN)
    return bool(p.poll(milliseconds))


def sane(seconds, fraction):
    return abs(time.time() - seconds) < 60 and fraction < 1e9


KNOWN = ~(0x20000000 | 0x80 | 0x8)  # of a time stamp, or of a checksum, that the device may know or not


class Frames:
    """Reads TPACKET_V1 and V2."""

    def __init__(self, s, version, memory, link=14):
        self.s, self.version, self.memory, self.link, self.head = s, version, memory, link, 0

    def next(self, wait=2000):
        at = self.head * FRAME
        layout, fraction = ("=QIIHHII", 1e6) if self.version == V1 else ("=IIIHHII", 1e9)
        word = "=Q" if self.version == V1 else "=I"
        if not struct.unpack_from(word, self.memory, at)[0]:
            if not ready(self.s, wait) or not struct.unpack_from(word, self.memory, at)[0]:
                return None
        status, length, snap, mac, net, sec, part = struct.unpack_from(layout, self.memory, at)
        more = self.memory[at + 24 : at + 32] if self.version == V2 else b""
        packet = self.memory[at + mac : at + mac + snap]
        found = (status & KNOWN, length, snap, mac, net, sane(sec, part / fraction), more,
                 address(self.memory, at + 32))
        struct.pack_into(word, self.memory, at, 0)
        self.head = (self.head + 1) % FRAMES
        return found, packet

    def packets(self, count):
        while count:
            got = self.next()
            if got is None:
                print("no packet")
                return
            if mine(got[1], self.link):
                yield got
                count -= 1


def frames(version, kind):
    link = 14 if kind == socket.SOCK_RAW else 0
    s = opened(version, kind)
    memory = ring(s, version)
    reader = Frames(s, version, memory, link)
    print("nothing yet", ready(s))
    send(10, 100, 1900, 4000)
    for found, packet in reader.packets(8):
        print(found, len(packet), sum(packet[link + 28 :]))
    memory.close()
    s.close()


def full(version):
    s = opened(version)
    memory = ring(s, version)
    reader = Frames(s, version, memory)
    send(*[50] * 20)
    time.sleep(0.1)
    n = 0
    while (got := reader.next(0)) is not None:
        n += 1
    packets, drops = struct.unpack("2I", s.getsockopt(SOL_PACKET, STATISTICS, 8))
    print("full", n, packets == 40, drops == 40 - n)
    send(1)
    print([found[0] for found, packet in reader.packets(2)], "not losing any more")
    print("readable", ready(s))
    memory.close()
    s.close()


def blocks(private):
    s = opened(V3)
    memory = ring(s, V3, tov=150, private=private)
    began = time.monotonic()
    send(20)
    print("in time", ready(s, 2000), 0.0 <= time.monotonic() - began < 1.0)
    index = seen = 0
    losing = False

    def take(show):
        nonlocal index, seen
        base = index * SIZE
        if not struct.unpack_from("=I", memory, base + 8)[0] & 1:
            if not ready(s, 2000) or not struct.unpack_from("=I", memory, base + 8)[0] & 1:
                return 0
        version, offset, status, n, first, length, number, s1, n1, s2, n2 = struct.unpack_from(
            "=IIIIIIQIIII", memory, base)
        if show:
            print("block", version, offset, status, n, first, length, number, sane(s1, n1), sane(s2, n2))
        at = base + first
        for i in range(n):
            following, sec, nsec, snap, wire, tp, mac, net, rxhash, tci, tpid, pad = struct.unpack_from(
                "=6IHHIIHH", memory, at)
            packet = memory[at + mac : at + mac + snap]
            if show:
                print(following, sane(sec, nsec), snap, wire, tp & KNOWN, mac, net, rxhash, tci, tpid, pad,
                      memory[at + 40 : at + 48], address(memory, at + 48), sum(packet[42:]))
            seen += 1
            at += following
        struct.pack_into("=I", memory, base + 8, 0)
        index = (index + 1) % BLOCKS
        return n

    n = take(False)
    # A block has just been opened, so these come into one.
    send(10, 300)
    n += take(True)
    print("empty again", ready(s))
    # More than fits into all blocks: the ring stands still until one is given back.
    send(*[1000] * 20)
    time.sleep(0.2)
    print("full", ready(s))
    in_ring = 0
    for i in range(BLOCKS):
        in_ring += take(False)
    packets, drops, freezes = struct.unpack("3I", s.getsockopt(SOL_PACKET, STATISTICS, 12))
    print(packets == n + 40, drops == 40 - in_ring, freezes)
    send(5)
    print("on it goes", take(False))
    print(struct.unpack("3I", s.getsockopt(SOL_PACKET, STATISTICS, 12)))
    memory.close()
    s.close()


def rules():
    descriptors = os.listdir("/proc/self/fd")
    s = opened(V2)
    for what, how in (
        ("page", dict(size=4097)), ("frame", dict(frame=2001)), ("short", dict(frame=32)),
        ("count", dict(frames=17)), ("no frame", dict(frame=16384))):
        refused(what, lambda how=how: s.setsockopt(SOL_PACKET, RX_RING, request(V2, **how)))
    refused("length", lambda: s.setsockopt(SOL_PACKET, RX_RING, request(V2)[:12]))
    refused("none of no frames", lambda: s.setsockopt(SOL_PACKET, RX_RING, bytes(16)))
    refused("none of some", lambda: s.setsockopt(SOL_PACKET, RX_RING, request(V2, blocks=0)))
    refused("no ring", lambda: mmap.mmap(s.fileno(), 4096))
    s.setsockopt(SOL_PACKET, RX_RING, request(V2))
    refused("length of mapping", lambda: mmap.mmap(s.fileno(), SIZE))
    refused("another", lambda: s.setsockopt(SOL_PACKET, RX_RING, request(V2)))
    for name, value in (("version", struct.pack("I", V3)), ("version", struct.pack("I", 7)),
                        ("version", b"12"), ("reserve", struct.pack("I", 8))):
        option = VERSION if name == "version" else RESERVE
        refused(name, lambda: s.setsockopt(SOL_PACKET, option, value))
    print("auxiliary", s.getsockopt(SOL_PACKET, AUXDATA))
    memory = mmap.mmap(s.fileno(), SIZE * BLOCKS)
    again = mmap.mmap(s.fileno(), SIZE * BLOCKS)
    memory[4096:4100] = b"same"
    print(again[4096:4100])
    memory.close()
    refused("mapped", lambda: s.setsockopt(SOL_PACKET, RX_RING, bytes(16)))
    again.close()
    refused("given up", lambda: s.setsockopt(SOL_PACKET, RX_RING, bytes(16)))
    s.setsockopt(SOL_PACKET, VERSION, V3)
    s.bind(("lo", 3))
    send(3)
    data = b""
    while not data or not mine(data):
        data = s.recv(4096)
    print("by recv", len(data))
    s.close()
    print("descriptors", os.listdir("/proc/self/fd") == descriptors)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    refused("of another socket", lambda: mmap.mmap(u.fileno(), 4096))
    refused("of another socket", lambda: u.setsockopt(SOL_PACKET, RX_RING, request(V2)))


def shared():
    """A child reads what its parent has mapped, through edges of an epoll set; a signal comes while it is mapped."""
    signal.signal(signal.SIGALRM, lambda *a: None)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    s = opened(V2)
    memory = ring(s, V2)
    signal.setitimer(signal.ITIMER_REAL, 0)
    reader = Frames(s, V2, memory)
    go, told = os.pipe()
    child = os.fork()
    if child == 0:
        poller = select.epoll()
        poller.register(s, select.EPOLLIN | select.EPOLLET)
        os.write(told, b"x")
        total = 0
        while total < 6 and poller.poll(2):
            while (got := reader.next(0)) is not None:
                total += mine(got[1])
        os._exit(total)
    os.read(go, 1)
    for i in range(3):
        send(30)
        time.sleep(0.02)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    memory.close()
    s.close()


for version in (V1, V2):
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        print("version", version + 1, kind.name)
        frames(version, kind)
    full(version)
for private in (0, 13):
    print("version 3, private", private)
    blocks(private)
rules()
shared()
