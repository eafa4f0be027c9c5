# SPDX-License-Identifier: MIT
"""A TAP and a TUN of the program's own: frames that the kernel sends are read, and what is written arrives.

Prints what each step gave; names of devices and descriptors are the same on every kernel.
"""
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess

TUNSETIFF, TUNSETPERSIST, TUNGETIFF, TUNGETFEATURES = 0x400454CA, 0x400454CB, 0x800454D2, 0x800454CF
IFF_TUN, IFF_TAP, IFF_NO_PI = 1, 2, 0x1000


def opened(name, flags):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    made = fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return fd, made[:16].rstrip(b"\0").decode()


def ip(line):
    subprocess.run(["ip"] + line.split(), check=True)


def exists(name):
    return any(each == name for _, each in socket.if_nameindex())


def told(what, call, *arguments):
    try:
        print(what, call(*arguments))
    except OSError as e:
        print(what, errno.errorcode[e.errno])


def frames(fd, wanted):
    """Reads until a frame is what is wanted: a kernel sends others, too."""
    p = select.poll()
    p.register(fd, select.POLLIN)
    while p.poll(5000):
        frame = os.read(fd, 2048)
        if wanted(frame):
            return frame
    raise SystemExit("no such frame came")


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def udp(source, destination, payload):
    """An IPv4 packet; UDP needs no checksum."""
    datagram = struct.pack("!HHHH", 4000, 5000, 8 + len(payload), 0) + payload
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0,
        socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + datagram


plain = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
told("read before TUNSETIFF", os.read, plain, 100)
told("features", lambda: struct.unpack("I", fcntl.ioctl(plain, TUNGETFEATURES, bytes(4)))[0] & 0x1003)
told("no such kind", fcntl.ioctl, plain, TUNSETIFF, struct.pack("16sH22x", b"none0", 0))
os.close(plain)

fd, name = opened("tap7", IFF_TAP | IFF_NO_PI)
print("made", name, fcntl.ioctl(fd, TUNGETIFF, bytes(40))[:4])
told("the same again", opened, "tap7", IFF_TAP | IFF_NO_PI)
told("nothing yet", os.read, fd, 100)
ip("link set tap7 address 02:00:00:00:00:01")
ip("addr add 192.0.2.1/24 dev tap7")
ip("link set tap7 up")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.1", 5000))
s.settimeout(5)
s.sendto(b"out", ("192.0.2.2", 4000))
asked = frames(fd, lambda f: f[12:14] == b"\x08\x06")
print("ARP asks for", socket.inet_ntoa(asked[38:42]))
peer = b"\x02\0\0\0\0\x02"
arp = asked[6:12] + peer + b"\x08\x06" + asked[14:20] + b"\0\2" + peer
os.write(fd, arp + socket.inet_aton("192.0.2.2") + asked[22:28] + asked[28:32])
sent = frames(fd, lambda f: f[12:14] == b"\x08\0" and f[23] == 17 and f[36:38] == struct.pack("!H", 4000))
print("sent", sent[:6] == peer, sent[42:45])
for i in range(300):
    payload = b"%d" % i * (1 + i % 40)
    os.write(fd, asked[6:12] + peer + b"\x08\0" + udp("192.0.2.2", "192.0.2.1", payload))
    assert s.recvfrom(2048) == (payload, ("192.0.2.2", 4000))
    s.sendto(payload, ("192.0.2.2", 4000))
    back = frames(fd, lambda f: f[12:14] == b"\x08\0" and f[23] == 17)
    assert back[42 : 42 + len(payload)] == payload
print("300 there and back")
told("half a frame", os.write, fd, b"short")
os.close(fd)
print("tap7 after its close", exists("tap7"))

fd, name = opened("tun7", IFF_TUN | IFF_NO_PI)
ip("addr add 198.51.100.1/24 dev tun7")
ip("link set tun7 up")
t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
t.sendto(b"x", ("198.51.100.9", 4000))
packet = frames(fd, lambda f: f[0] == 0x45 and f[9] == 17)
print("routed to", socket.inet_ntoa(packet[16:20]), packet[28:])
fcntl.ioctl(fd, TUNSETPERSIST, 1)
os.close(fd)
print("tun7, kept", exists("tun7"))
again, name = opened("tun7", IFF_TUN | IFF_NO_PI)
fcntl.ioctl(again, TUNSETPERSIST, 0)
os.close(again)
print("tun7, kept no more", exists("tun7"))

ip("tuntap add dev tap8 mode tap user 0")
fd, name = opened("tap8", IFF_TAP | IFF_NO_PI)
os.close(fd)
print("tap8 by ip", exists("tap8"))
ip("tuntap del dev tap8 mode tap")
print("tap8, deleted", exists("tap8"))
