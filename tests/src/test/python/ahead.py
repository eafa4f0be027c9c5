# SPDX-License-Identifier: MIT
"""What a program may see of its sends when they go ahead over a link: that the bytes come, in order,
and that everything else is as on one kernel. Each case prints one line.

ahead.py all | CASES... (both ends are here) | sink PORT | leave PORT BYTES PIECE"""
import array
import errno
import fcntl
import os
import select
import socket
import struct
import sys
import threading
import time

SIOCOUTQ = 0x5411


def pair(small=False):
    listener = socket.create_server(("127.0.0.1", 0))
    if small:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    a = socket.create_connection(listener.getsockname())
    b, _ = listener.accept()
    listener.close()
    warm(a, b)
    return a, b


def warm(a, b):
    """The first sends may be waited for; these are to be others."""
    for _ in range(40):
        a.send(b"x")
        time.sleep(0.005)
    got = 0
    while got < 40:
        got += len(b.recv(40 - got))


def numbers(first, count):
    return struct.pack("<%dQ" % count, *range(first, first + count))


def seen_at_once():
    """Who has sent finds it at the other end without waiting."""
    a, b = pair()
    b.setblocking(False)
    wrong = 0
    for i in range(50):
        a.sendall(b"%08d" % i)
        if not select.select([b], [], [], 0)[0]:
            wrong += 1
        elif b.recv(100) != b"%08d" % i:
            wrong += 100
    return wrong


def ends_behind():
    """shutdown ends the stream behind what was sent; a later send is EPIPE."""
    a, b = pair()
    sent = numbers(0, 30000)
    got = bytearray()

    def read():
        while some := b.recv(65536):
            got.extend(some)

    t = threading.Thread(target=read)
    t.start()
    a.sendall(sent)
    a.shutdown(socket.SHUT_WR)
    try:
        a.send(b"more")
        late = "sent"
    except OSError as e:
        late = errno.errorcode[e.errno]
    t.join()
    return bytes(got) == sent, late


def fills():
    """A sender that does not wait is told when there is no room and when there is."""
    a, b = pair(small=True)
    a.setblocking(False)
    poll = select.epoll()
    poll.register(a, select.EPOLLOUT | select.EPOLLET)
    sent = 0
    full = False
    # Until nobody takes more: a device that is slower than its host still does for a while.
    while select.select([], [a], [], 0.2)[1]:
        try:
            while True:
                sent += a.send(numbers(sent // 8, 1024)[sent % 8:])
        except BlockingIOError:
            full = True
    poll.poll(0)
    waits = not select.select([], [a], [], 0)[1]
    got = bytearray()
    edge = False
    b.settimeout(20)
    while len(got) < sent:
        some = b.recv(1 << 20)
        got.extend(some)
    edge = bool(poll.poll(20))
    room = a.send(b"x") == 1
    return full, waits, edge, room, bytes(got) == numbers(0, sent // 8 + 1)[:sent]


def closes_behind():
    """close loses nothing of what was sent."""
    a, b = pair()
    sent = numbers(0, 50000)

    def write():
        a.sendall(sent)
        a.close()

    t = threading.Thread(target=write)
    t.start()
    got = bytearray()
    while some := b.recv(65536):
        got.extend(some)
    t.join()
    return bytes(got) == sent


def reset_shows(how):
    """A reset in the middle is the error of exactly one call, then the stream has ended."""
    a, b = pair()
    a.sendall(bytes(100000))
    time.sleep(0.2)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    b.close()
    time.sleep(0.2)
    told = []
    for _ in range(3):
        try:
            if how == "send":
                told.append("sent" if a.send(bytes(1000)) else "0")
            elif how == "recv":
                told.append(len(a.recv(10)))
            else:
                told.append(errno.errorcode.get(a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0))
        except OSError as e:
            told.append(errno.errorcode[e.errno])
        time.sleep(0.3)
    return told


def reset_under_way():
    """A stream that is reset while it sends: ECONNRESET once, EPIPE from then on."""
    a, b = pair()

    def reset():
        b.recv(200000)
        b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        b.close()

    t = threading.Thread(target=reset)
    t.start()
    told = []
    for _ in range(100000):
        try:
            a.send(bytes(65536))
        except OSError as e:
            told.append(errno.errorcode[e.errno])
            if len(told) == 3:
                break
    t.join()
    return told


def shared():
    """Both of two processes send on one connection, and nothing is lost or out of a process's order."""
    a, b = pair()
    children = []
    for who in (1, 2):
        pid = os.fork()
        if pid == 0:
            for n in range(300):
                a.sendall(struct.pack("<II", who, n))
            os._exit(0)
        children.append(pid)
    a.close()
    got = bytearray()
    while some := b.recv(65536):
        got.extend(some)
    for pid in children:
        os.waitpid(pid, 0)
    next_of = {1: 0, 2: 0}
    for who, n in struct.iter_unpack("<II", got):
        if next_of[who] != n:
            return "process %d: %d for %d" % (who, n, next_of[who])
        next_of[who] += 1
    return list(next_of.values())


def queued():
    """SIOCOUTQ counts what is on its way, too."""
    a, b = pair(small=True)
    a.setblocking(False)
    sent = 0
    try:
        while True:
            sent += a.send(bytes(65536))
    except BlockingIOError:
        pass
    left = array.array("i", [0])
    fcntl.ioctl(a, SIOCOUTQ, left)
    held = array.array("i", [0])
    fcntl.ioctl(b, 0x541B, held)  # FIONREAD
    # What is between the two is in one of them.
    return left[0] > 0, abs(sent - left[0] - held[0]) <= 1 << 16


def options():
    """An option that was set is what it was set to, whether or not bytes wait before it."""
    a, b = pair(small=True)
    names = socket.TCP_NODELAY, socket.TCP_CORK
    wrong = 0
    for i in range(60):
        name = names[i % 2]
        value = i // 2 % 2
        a.setsockopt(socket.IPPROTO_TCP, name, value)
        wrong += a.getsockopt(socket.IPPROTO_TCP, name) != value
        a.send(b"x")
        a.setsockopt(socket.IPPROTO_TCP, name, 1 - value)
        wrong += a.getsockopt(socket.IPPROTO_TCP, name) != 1 - value
    for name in names:
        a.setsockopt(socket.IPPROTO_TCP, name, 0)
    a.setblocking(False)
    try:
        while True:
            a.send(bytes(65536))
    except BlockingIOError:
        pass
    for value in 1, 0:  # though nothing before it can be sent
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, value)
        wrong += a.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != value
    refused = []
    for name, value in (socket.TCP_CORK, b"xyz"), (socket.TCP_KEEPIDLE, struct.pack("i", 0)):
        try:
            a.setsockopt(socket.IPPROTO_TCP, name, value)
        except OSError as e:
            refused.append(errno.errorcode[e.errno])
    return wrong, refused


def corked():
    """What is sent between two options arrives whole and in order."""
    a, b = pair()
    got = bytearray()

    def read():
        while some := b.recv(65536):
            got.extend(some)

    t = threading.Thread(target=read)
    t.start()
    sent = bytearray()
    for i in range(100):
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for n in 3, 700, 20000 * (i % 5 == 0):
            some = bytes([i]) * n
            sent += some
            a.sendall(some)
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    a.close()
    t.join()
    return got == sent, len(got)


def bound_again():
    """A port is free when the socket that had it is closed."""
    port = 0
    for _ in range(60):
        listener = socket.socket()
        listener.bind(("127.0.0.1", port))
        listener.listen()
        port = listener.getsockname()[1]
        listener.close()
    return "bound"


def ends_at_once():
    """Who has closed finds the end at the other end without waiting."""
    listener = socket.create_server(("127.0.0.1", 0))
    wrong = 0
    for _ in range(60):
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
        b.setblocking(False)
        a.close()
        if not select.select([b], [], [], 0)[0]:
            wrong += 1
        elif b.recv(10):
            wrong += 100
        b.close()
    return wrong


def closed_with_bytes_looked_at():
    """A number that is used again has nothing of the connection that had it before."""
    listener = socket.create_server(("127.0.0.1", 0))
    wrong = 0
    for i in range(60):
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
        a.sendall(b"%04d" % i * 20)
        wrong += b.recv(4) != b"%04d" % i
        wrong += b.recv(4) != b"%04d" % i
        b.close()  # with bytes in its queue
        a.close()
    return wrong


CASES = {
    "seen_at_once": seen_at_once,
    "ends_behind": ends_behind,
    "fills": fills,
    "closes_behind": closes_behind,
    "reset_send": lambda: reset_shows("send"),
    "reset_recv": lambda: reset_shows("recv"),
    "reset_option": lambda: reset_shows("option"),
    "reset_under_way": reset_under_way,
    "shared": shared,
    "queued": queued,
    "options": options,
    "corked": corked,
    "bound_again": bound_again,
    "ends_at_once": ends_at_once,
    "closed_with_bytes_looked_at": closed_with_bytes_looked_at,
}


def sink(port):
    listener = socket.create_server(("127.0.0.1", port))
    print("listening", flush=True)
    link, _ = listener.accept()
    got = 0
    while some := link.recv(65536):
        if some != bytes((got + i) & 255 for i in range(len(some))):
            raise ValueError("after byte %d" % got)
        got += len(some)
    print("received", got, flush=True)


def leave(port, count, piece):
    """Sends so much in pieces of a multiple of 256 bytes, says how long that took, and is gone."""
    link = socket.create_connection(("127.0.0.1", port))
    some = bytes(range(256)) * (piece // 256)
    start = time.monotonic()
    for _ in range(count // piece):
        link.sendall(some)
    print("milliseconds", round((time.monotonic() - start) * 1000), flush=True)
    os._exit(0)


if sys.argv[1] == "sink":
    sink(int(sys.argv[2]))
elif sys.argv[1] == "leave":
    leave(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
else:
    for name in sys.argv[1:] if sys.argv[1] != "all" else CASES:
        print(name, CASES[name](), flush=True)
