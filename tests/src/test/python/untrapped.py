# SPDX-License-Identifier: MIT
"""Calls on sockets that need no trap over a link: that they say and do what those do that trap. Prints
one line for each case, and "ok" last.

untrapped.py DIRECTORY, of an export"""
import errno
import os
import random
import signal
import socket
import struct
import sys
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


def killed_while(times, sends):
    """A child that sends numbers on its socket is killed at any time: what has come has no gap."""
    total = 0
    for _ in range(times):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pid = os.fork()
            if pid == 0:
                sends(socket.create_connection(listener.getsockname()))
                time.sleep(60)
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


def killed():
    """Whenever a sender is killed, what it has sent is there without a gap."""
    def sends(s):
        at = 0
        while True:
            s.sendall(numbers(at, 300))
            at += 300

    killed_while(12, sends)


SIZE = 1 << 20


def whole(call):
    """Makes a call that does not wait until it is done."""
    while True:
        try:
            return call()
        except BlockingIOError:
            time.sleep(0.0005)


def files():
    """sendfile from a file of the device: order, short counts, ends, errors."""
    path = os.path.join(sys.argv[1], "sent")
    content = numbers(0, SIZE // 4)
    with open(path, "wb") as f:
        f.write(content)
    source = os.open(path, os.O_RDONLY)
    a, b = connected()
    a.setblocking(False)
    for _ in range(MANY // 10):
        assert os.sendfile(a.fileno(), source, SIZE, 100) == 0, "past the end"
    # Between sends and options that go ahead.
    got, expected = [], bytearray()
    reader = threading.Thread(target=lambda: got.append(read_all(b)))
    reader.start()
    for _ in range(MANY // 8):
        head = os.urandom(random.choice((1, 200, 3000)))
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        sent = 0
        while sent < len(head):
            sent += whole(lambda: a.send(head[sent:]))
        at = random.randrange(SIZE)
        end = min(SIZE, at + random.choice((1, 4000, 100000, SIZE)))
        expected += head + content[at:end]
        while at < end:
            at += whole(lambda: os.sendfile(a.fileno(), source, at, end - at))
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    a.shutdown(socket.SHUT_WR)
    reader.join()
    assert got[0] == expected
    pipes = []
    signal.signal(signal.SIGPIPE, lambda *_: pipes.append(1))
    try:
        os.sendfile(a.fileno(), source, 0, 100)
        raise AssertionError("sent behind the end")
    except BrokenPipeError:
        time.sleep(0)  # Python's handlers run a little later
    assert len(pipes) == 1
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # A socket that takes no more says so, and what it has taken is that; but not of a file that has ended.
    a, b = connected()
    a.setblocking(False)
    at = refused = 0
    while refused < 5:
        if at == SIZE:
            at = 0
        try:
            at += os.sendfile(a.fileno(), source, at, SIZE - at)
            refused = 0
        except BlockingIOError:
            refused += 1
    os.truncate(path, 0)
    assert os.sendfile(a.fileno(), source, at, 100) == 0
    with open(path, "r+b") as f:
        f.write(content)
    a.close()
    assert len(read_all(b)) % SIZE == at % SIZE
    # One that waits takes all.
    a, b = connected()
    reader = threading.Thread(target=lambda: got.append(read_all(b)))
    reader.start()
    assert os.sendfile(a.fileno(), source, 0, SIZE) == SIZE
    a.close()
    reader.join()
    assert got[1] == content
    # Numbers of files that were closed.
    a, b = connected()
    a.setblocking(False)
    for i in range(MANY // 8):
        one = os.open(path, os.O_WRONLY if i % 2 else os.O_RDONLY)
        try:
            assert os.sendfile(a.fileno(), one, i, 1) == 1 and i % 2 == 0
            assert b.recv(10) == content[i:i + 1]
        except OSError as e:
            assert e.errno == errno.EBADF and i % 2 == 1
        os.close(one)


def killed_with_files():
    """Whenever who sends a file is killed, what it has sent is there without a gap."""
    path = os.path.join(sys.argv[1], "sent")

    def sends(s):
        s.setblocking(False)
        source = os.open(path, os.O_RDONLY)
        at = 0
        while at < SIZE:
            at += whole(lambda: os.sendfile(s.fileno(), source, at, 1000))

    killed_while(6, sends)


for case in questions, sends, signals, forks, killed, files, killed_with_files:
    case()
    print(case.__name__, flush=True)
print("ok")
