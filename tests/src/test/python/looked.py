# SPDX-License-Identifier: MIT
"""What a program may see of its receives when what comes is looked at ahead over a link: that the bytes
come once and in order, and that all else is as on one kernel. Each case prints one line.

looked.py all | CASES... (both ends are here) | source PORT COUNT | drain PORT PIECE | answer PORT COUNT |
ask PORT COUNT"""
import array
import errno
import fcntl
import os
import select
import socket
import statistics
import struct
import sys
import threading
import time

FIONREAD = 0x541B


def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    a = socket.create_connection(listener.getsockname())
    b, _ = listener.accept()
    listener.close()
    warm(a, b)
    return a, b


def warm(a, b):
    """The first receives are calls; these are to be others."""
    for _ in range(5):
        a.sendall(b"x")
        b.recv(1)
    time.sleep(0.05)


def numbers(first, count):
    return struct.pack("<%dQ" % count, *range(first, first + count))


def told(call):
    try:
        return call()
    except OSError as e:
        return errno.errorcode[e.errno]


def blocking():
    """A reader that waits gets all, in order, whatever sizes it asks for."""
    a, b = pair()
    sent = numbers(0, 150000)
    t = threading.Thread(target=lambda: (a.sendall(sent), a.shutdown(socket.SHUT_WR)))
    t.start()
    got = bytearray()
    size = 1
    while some := b.recv(size):
        got.extend(some)
        size = size * 3 % 70001 + 1
    t.join()
    return bytes(got) == sent, b.recv(10)


def edges():
    """One that is told by edges, and reads until there is no more, misses nothing."""
    a, b = pair()
    b.setblocking(False)
    poll = select.epoll()
    poll.register(b, select.EPOLLIN | select.EPOLLET | select.EPOLLRDHUP)
    sent = numbers(0, 60000)

    def write():
        for at in range(0, len(sent), 37000):
            a.sendall(sent[at:at + 37000])
            time.sleep(0.001)
        a.shutdown(socket.SHUT_WR)

    t = threading.Thread(target=write)
    t.start()
    got = bytearray()
    over = False
    while not over:
        if not poll.poll(20):
            return "no edge after %d bytes" % len(got)
        while True:
            try:
                some = b.recv(5000)
            except BlockingIOError:
                break
            if not some:
                over = True
                break
            got.extend(some)
    t.join()
    return bytes(got) == sent


def levels():
    """What is readable shows until it is read and no longer, at once."""
    a, b = pair()
    b.setblocking(False)
    wrong = 0
    for i in range(30):
        wrong += bool(select.select([b], [], [], 0)[0])
        a.sendall(b"%08d" % i)
        if not select.select([b], [], [], 0)[0]:
            wrong += 100
        if b.recv(3) != (b"%08d" % i)[:3]:
            wrong += 10000
        wrong += not select.select([b], [], [], 0)[0]
        if b.recv(100) != (b"%08d" % i)[3:]:
            wrong += 10000
        wrong += told(lambda: b.recv(1)) != "EAGAIN"
    return wrong


def at_once():
    """Who has sent finds it at the other end by a receive that does not wait."""
    a, b = pair()
    wrong = 0
    for i in range(50):
        a.sendall(b"%08d" % i)
        if told(lambda: b.recv(100, socket.MSG_DONTWAIT)) != b"%08d" % i:
            wrong += 1
    return wrong


def counted(b):
    n = array.array("i", [0])
    fcntl.ioctl(b, FIONREAD, n)
    return n[0]


def beside():
    """Calls that look at the queue find what was not received, and only that."""
    a, b = pair()
    a.sendall(b"0123456789" * 10)
    time.sleep(0.1)
    seen = [counted(b), b.recv(3), counted(b)]
    seen += [b.recv(4, socket.MSG_PEEK), counted(b), b.recv(4)]
    seen += [b.recv(13, socket.MSG_WAITALL), counted(b)]
    a.sendall(b"more")
    time.sleep(0.1)
    seen += [counted(b), b.recv(200), counted(b)]
    return seen


def low_water():
    """SO_RCVLOWAT and SO_RCVTIMEO hold from the moment they are set."""
    a, b = pair()
    a.sendall(b"abc")
    time.sleep(0.1)
    seen = [b.recv(1)]
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200000))
    seen.append(b.recv(10))
    start = time.monotonic()
    seen.append(told(lambda: b.recv(10)))
    seen.append(0.1 < time.monotonic() - start < 3)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 4)
    a.sendall(b"de")
    seen.append(bool(select.select([b], [], [], 0.1)[0]))
    a.sendall(b"fg")
    seen.append(bool(select.select([b], [], [], 5)[0]))
    seen.append(b.recv(10))
    return seen


def reset():
    """A reset behind unread bytes: they come first, then the error once, then the end."""
    a, b = pair()
    a.sendall(b"x" * 3000)
    time.sleep(0.1)
    seen = [len(b.recv(1000))]
    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    a.close()
    time.sleep(0.1)
    for _ in range(3):
        seen.append(told(lambda: len(b.recv(2000))))
    return seen


def leaves(rest):
    """Closing with unread bytes resets the connection, closing without ends it."""
    a, b = pair()
    a.sendall(b"x" * 3000)
    time.sleep(0.1)
    got = 0
    while got < 3000 - rest:
        got += len(b.recv(3000 - rest - got))
    b.close()
    time.sleep(0.2)
    return told(lambda: a.recv(10))


def killed():
    """So does the end of a process by a signal that cannot be caught."""
    a, b = pair()
    a.sendall(b"x" * 3000)
    told_by, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        a.close()
        os.write(tell, b"%d" % len(b.recv(3000)))
        time.sleep(60)
    b.close()
    got = int(os.read(told_by, 10))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return got, told(lambda: a.recv(10))


def shared():
    """Two processes and a copy of the descriptor receive from one stream: each byte once."""
    a, b = pair()
    total = 200000
    out, into = os.pipe()
    children = []
    for who in range(2):
        pid = os.fork()
        if pid == 0:
            a.close()
            mine = socket.socket(fileno=os.dup(b.fileno()))
            got = 0
            while some := mine.recv(1000 + who):
                got += sum(some)
            os.write(into, struct.pack("<Q", got))
            os._exit(0)
        children.append(pid)
    b.close()
    sent = bytes(i & 255 for i in range(total))
    a.sendall(sent)
    a.shutdown(socket.SHUT_WR)
    for pid in children:
        os.waitpid(pid, 0)
    parts = struct.unpack("<QQ", os.read(out, 16))
    return sum(parts) == sum(sent)


def threads():
    """Two threads wait in one recv each; both get something, then both the end."""
    a, b = pair()
    got = []

    def read():
        while some := b.recv(4):
            got.append(some)
            time.sleep(0.02)

    ts = [threading.Thread(target=read) for _ in range(2)]
    for t in ts:
        t.start()
    time.sleep(0.1)
    for i in range(20):
        a.sendall(b"%04d" % i)
        time.sleep(0.005)
    a.shutdown(socket.SHUT_WR)
    for t in ts:
        t.join(20)
    return [t.is_alive() for t in ts], sorted(b"".join(got)) == sorted(b"".join(b"%04d" % i for i in range(20)))


def mixed():
    """Kinds of receives in turn: vectors, messages, all that was asked for, splice to a pipe."""
    a, b = pair()
    sent = numbers(0, 40000)
    t = threading.Thread(target=lambda: (a.sendall(sent), a.shutdown(socket.SHUT_WR)))
    t.start()
    got = bytearray()
    out, into = os.pipe()
    turn = 0
    while True:
        turn += 1
        if turn % 9 == 3:
            some, _, _, _ = b.recvmsg(3001)
        elif turn % 9 == 5:
            some = b.recv(4000, socket.MSG_WAITALL)
        elif turn % 9 == 7:
            n = os.splice(b.fileno(), into, 2000)
            some = os.read(out, n) if n else b""
        elif turn % 9 == 8:
            one, two = bytearray(100), bytearray(777)
            n = os.readv(b.fileno(), [one, two])
            some = bytes(one + two)[:n]
        else:
            some = os.read(b.fileno(), 2500)
        if not some:
            break
        got.extend(some)
    t.join()
    return bytes(got) == sent


def interrupted():
    """A signal ends a wait, or lets it go on, as it does natively."""
    import signal
    a, b = pair()
    seen = []

    def wakes(number, frame):
        seen.append("woken")
        raise InterruptedError

    signal.signal(signal.SIGALRM, wakes)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    seen.append(told_interrupted(b))
    a.sendall(b"after")
    seen.append(b.recv(10))
    return seen


def told_interrupted(b):
    try:
        return b.recv(10)
    except InterruptedError:
        return "interrupted"


CASES = {
    "blocking": blocking,
    "edges": edges,
    "levels": levels,
    "at_once": at_once,
    "beside": beside,
    "low_water": low_water,
    "reset": reset,
    "leaves_some": lambda: leaves(1),
    "leaves_none": lambda: leaves(0),
    "killed": killed,
    "shared": shared,
    "threads": threads,
    "mixed": mixed,
    "interrupted": interrupted,
}


def source(port, count):
    """Sends so many bytes to the first who connects."""
    listener = socket.create_server(("127.0.0.1", port))
    print("listening", flush=True)
    link, _ = listener.accept()
    some = bytes(range(256)) * 256
    for at in range(0, count, len(some)):
        link.sendall(some[:count - at])
    link.close()


def drain(port, piece):
    """Receives all in pieces of at most so many bytes, and says how long that took."""
    link = socket.create_connection(("127.0.0.1", port))
    got = 0
    wrong = 0
    start = time.monotonic()
    while some := link.recv(piece):
        wrong += some[0] != (got & 255)
        got += len(some)
    print("milliseconds", round((time.monotonic() - start) * 1000), flush=True)
    print("received", got, flush=True)
    print("wrong", wrong, flush=True)


def answer(port, count):
    """Answers so many requests."""
    listener = socket.create_server(("127.0.0.1", port))
    print("listening", flush=True)
    link, _ = listener.accept()
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(count):
        link.sendall(link.recv(100))


def ask(port, count):
    """Makes so many requests, waits for each answer by epoll, and says how long that took: what an
    eighth did not exceed, as a machine that others use makes many of them late."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    poll = select.epoll()
    poll.register(link, select.EPOLLIN)
    times = []
    for i in range(count):
        start = time.monotonic()
        link.send(b"%08d" % i)
        poll.poll(20)
        if link.recv(100) != b"%08d" % i:
            raise ValueError("answer %d" % i)
        times.append(time.monotonic() - start)
    print("microseconds", round(statistics.quantiles(times, n=8)[0] * 1e6), flush=True)


if sys.argv[1] in ("source", "drain", "answer", "ask"):
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
else:
    for name in sys.argv[1:] if sys.argv[1] != "all" else CASES:
        print(name, CASES[name](), flush=True)
