# SPDX-License-Identifier: MIT
"""Calls on sockets that need no trap over a link: that they say and do what those do that trap. Prints
one line for each case, and "ok" last.

untrapped.py"""
import errno
import os
import random
import signal
import socket
import struct
import threading
import time

MANY = 400


def connected():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b = listener.accept()[0]
    # The first calls are made another way.
    for _ in range(100):
        a.send(b"w")
        assert b.recv(1) == b"w"
    return a, b


def numbers(first, count):
    return struct.pack(">%dI" % count, *range(first, first + count))


def read_all(s):
    data = bytearray()
    while part := s.recv(1 << 16):
        data += part
    return data


def check(data, whole):
    """Consecutive numbers from 0; only the last one may be in part."""
    count = len(data) // 4
    assert data[:count * 4] == numbers(0, count), "bytes are missing, or there twice"
    assert numbers(count, 1).startswith(data[count * 4:])
    assert not whole or len(data) == count * 4
    return count


def questions():
    a, b = connected()
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("127.0.0.1", 0))
    for i in range(MANY):
        assert a.getsockname() == b.getpeername() and a.getpeername() == b.getsockname()
        assert u.getsockname()[1] > 0
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, i % 2)
        assert a.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == i % 2
        assert a.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        assert a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        try:
            u.getpeername()
            raise AssertionError("a peer")
        except OSError as e:
            assert e.errno == errno.ENOTCONN
    # A number is another socket's a moment later.
    for _ in range(MANY // 8):
        fd, name = a.fileno(), a.getsockname()
        a.close()
        a = socket.socket()
        assert a.fileno() == fd
        a.bind(("127.0.0.1", 0))
        assert a.getsockname() != name and a.getsockname()[1] > 0


def sends():
    a, b = connected()
    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(b)))
    reader.start()
    at = 0
    for i in range(MANY):
        count = random.choice((1, 7, 100, 5000, 30000))
        data = numbers(at, count)
        at += count
        if i % 3 == 0:
            done = os.writev(a.fileno(), (data[:3], data[3:5], data[5:]))
            a.sendall(data[done:])
        else:
            a.sendall(data)
    # Nobody waits: what has no room is told so.
    a.setblocking(False)
    data, done = numbers(at, 1 << 20), 0
    while done < len(data):
        try:
            done += a.send(data[done:done + 100000])
        except BlockingIOError:
            time.sleep(0.001)
    at += 1 << 20
    a.setblocking(True)
    a.shutdown(socket.SHUT_WR)
    try:
        a.send(b"x")
        raise AssertionError("sent behind the end")
    except BrokenPipeError:
        pass
    reader.join()
    assert check(got[0], True) == at


def signals():
    """Handlers run while it sends, and nothing is sent twice."""
    a, b = connected()
    got, ran = [], []
    reader = threading.Thread(target=lambda: got.append(read_all(b)))
    reader.start()
    signal.signal(signal.SIGALRM, lambda *_: ran.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    at = 0
    while at < 2_000_000 or len(ran) < 20:
        a.sendall(numbers(at, 10000))
        at += 10000
    signal.setitimer(signal.ITIMER_REAL, 0)
    a.close()
    reader.join()
    assert check(got[0], True) == at


def forks():
    """A child's sends come behind its parent's, and the other way round."""
    a, b = connected()
    at = 0
    for _ in range(3):
        for _ in range(40):
            a.sendall(numbers(at, 50))
            at += 50
        pid = os.fork()
        if pid == 0:
            for i in range(40):
                a.sendall(numbers(at + 50 * i, 50))
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        at += 2000
    a.close()
    assert check(read_all(b), True) == at


def killed():
    """Whenever a sender is killed, what it has sent is there without a gap."""
    total = 0
    for _ in range(12):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pid = os.fork()
            if pid == 0:
                s = socket.create_connection(listener.getsockname())
                at = 0
                while True:
                    s.sendall(numbers(at, 300))
                    at += 300
            b = listener.accept()[0]
        got = []
        reader = threading.Thread(target=lambda: got.append(read_all(b)))
        reader.start()
        time.sleep(random.uniform(0.2, 0.5))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        reader.join()
        total += check(got[0], False)
    assert total > 0


for case in questions, sends, signals, forks, killed:
    case()
    print(case.__name__, flush=True)
print("ok")
