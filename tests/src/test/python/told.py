# SPDX-License-Identifier: MIT
"""What a program may see of calls on files that are answered from what the call before has told:
nothing. Each case prints one line.

told.py DIRECTORY"""
import errno
import os
import select
import socket
import stat
import sys
import threading

FILE = os.path.join(sys.argv[1], "told")
OTHER = os.path.join(sys.argv[1], "other")
BYTES = 6 << 20


def write(path, data, flags=os.O_TRUNC):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def looked(path, between=None):
    """What the file is that was just opened, after something was done to it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if between:
            between(fd)
        s = os.fstat(fd)
        again = os.fstat(fd)
        by_path = os.stat(path)
        if (s.st_ino, s.st_dev, s.st_size) != (by_path.st_ino, by_path.st_dev, by_path.st_size):
            return "another file"
        if s != again:
            return "another answer"
        return s.st_size, stat.filemode(s.st_mode), s.st_nlink
    finally:
        os.close(fd)


def plain():
    sizes = []
    for i in range(40):
        write(FILE, b"x" * i, os.O_APPEND)
        sizes.append(looked(FILE))
    return sizes


def changed():
    """Whatever the program has done since the open counts."""
    write(FILE, b"12345")
    writer = os.open(FILE, os.O_WRONLY)

    def in_thread(what):
        def do(_):
            t = threading.Thread(target=what)
            t.start()
            t.join()
        return do

    result = []
    for between in (
        lambda fd: os.pwrite(writer, b"x", 99),
        in_thread(lambda: os.pwrite(writer, b"x", 199)),
        lambda fd: os.ftruncate(writer, 7),
        in_thread(lambda: os.truncate(FILE, 8)),
        lambda fd: os.fchmod(fd, 0o600),
        in_thread(lambda: os.chmod(FILE, 0o640)),
        in_thread(lambda: os.link(FILE, OTHER)),
        in_thread(lambda: os.unlink(OTHER)),
        in_thread(lambda: write(FILE, b"anew")),
    ):
        result.append(looked(FILE, between))
    os.close(writer)
    fd = os.open(FILE, os.O_RDWR | os.O_TRUNC)
    result.append(os.fstat(fd).st_size)
    os.close(fd)
    return result


def other_file():
    """What was told of one file is no answer for another."""
    write(FILE, b"12345")
    write(OTHER, b"1234567")
    a = os.open(FILE, os.O_RDONLY)
    b = os.open(OTHER, os.O_RDONLY)
    sizes = os.fstat(a).st_size, os.fstat(b).st_size
    os.dup2(a, b)
    sizes += os.fstat(b).st_size, os.lseek(b, 0, os.SEEK_END)
    os.close(a)
    os.close(b)
    return sizes


def sendfile(out, fd, offset, count):
    try:
        return os.sendfile(out, fd, offset, count)
    except OSError as e:
        return errno.errorcode[e.errno]


def full():
    """A sendfile that finds no room, as often as it is asked; and one that has nothing to send."""
    data = os.urandom(BYTES)
    with open(FILE, "wb") as f:
        f.write(data)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    a = socket.create_connection(listener.getsockname())
    b, _ = listener.accept()
    a.setblocking(False)
    poll = select.epoll()
    poll.register(a, select.EPOLLOUT | select.EPOLLET)
    fd = os.open(FILE, os.O_RDONLY)
    sent, got = 0, bytearray()
    wrong = []
    fulls = 0
    while sent < BYTES:
        r = sendfile(a.fileno(), fd, sent, BYTES)
        if r == "EAGAIN":
            fulls += 1
            # That it has no room does not hide what comes before that.
            if sendfile(a.fileno(), fd, BYTES, 10) != 0:
                wrong.append("end")
            if sendfile(a.fileno(), fd, sent, 0) != 0:
                wrong.append("nothing")
            if sendfile(a.fileno(), 999, sent, 10) != "EBADF":
                wrong.append("bad")
            while sent > len(got):
                got += b.recv(1 << 20)
            if not poll.poll(20):
                wrong.append("no edge")
        elif isinstance(r, int) and r > 0:
            sent += r
        else:
            wrong.append(r)
            break
    a.close()
    while some := b.recv(1 << 20):
        got += some
    os.close(fd)
    return fulls > 0, wrong, got == data


def small():
    """The file, a socket that takes less of it at once, its other end, and who watches it."""
    with open(FILE, "wb") as f:
        f.write(bytes(BYTES))
    listener = socket.create_server(("127.0.0.1", 0))
    a = socket.create_connection(listener.getsockname())
    b, _ = listener.accept()
    a.setblocking(False)
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    poll = select.epoll()
    poll.register(a, select.EPOLLOUT | select.EPOLLET)
    return os.open(FILE, os.O_RDONLY), a, b, poll


def room_again():
    """Room that the program has just made is there."""
    fd, a, b, _watched = small()
    sent = got = 0
    while sent < BYTES:
        r = sendfile(a.fileno(), fd, sent, BYTES - sent)
        if isinstance(r, int):
            sent += r
        elif r != "EAGAIN":
            return r
        else:
            while got < sent:
                got += len(b.recv(1 << 20))
            r = sendfile(a.fileno(), fd, sent, BYTES - sent)
            if not isinstance(r, int):
                return r
            sent += r
    return "sent"


def room_at_once():
    """Also if it was made before anybody was told that there is none."""
    fd, a, b, _watched = small()
    sent = got = 0
    while sent < BYTES:
        r = sendfile(a.fileno(), fd, sent, BYTES - sent)
        if not isinstance(r, int):
            return r
        sent += r
        while got < sent:
            got += len(b.recv(1 << 20))
    return "sent"


for case in plain, changed, other_file, full, room_again, room_at_once:
    print(case.__name__, case(), flush=True)
