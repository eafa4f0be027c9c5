# SPDX-License-Identifier: MIT
"""differences MODE DIR: the rows of docs/differences.md, each by the fewest calls that show it.

Prints a line for each row: its number and what happened. MODE is what the calls are carried out by:
"native", "files" (offloaded; DIR is an export), or "bpf" (offloaded with --bpf=device, and without an
export). A row that the machine's kernel cannot show says so. Ends with 1 if anything is not as documented.
"""

import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

MODE = sys.argv[1]
DIRECTORY = sys.argv[2]

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PAGE = 4096
FAILED = ctypes.c_void_p(-1).value

SOL_PACKET, PACKET_RX_RING, PACKET_VERSION, PACKET_TX_RING = 263, 5, 10, 13
SO_PASSCRED, SO_TIMESTAMPNS, SO_ATTACH_BPF, UDP_ENCAP = 16, 35, 50, 100
AF_XDP = 44
SIOCDEVPRIVATE = 0x89F0
FIEMAP = 0xC020660B
SYS_UNSHARE, CLONE_NEWNET = 272, 0x40000000
SYS_SPLICE, SYS_COPY_FILE_RANGE, SYS_BPF, SYS_FILE_GETATTR = 275, 326, 321, 468
BPF_MAP_CREATE, BPF_MAP_LOOKUP, BPF_MAP_UPDATE = 0, 1, 2
BPF_ARRAY, BPF_PERCPU_ARRAY, BPF_RINGBUF = 2, 6, 27

ROWS = []
CANNOT = "cannot be shown here:"


def row(number, natively, *offloaded, mode="files"):
    """A function that shows a row, and returns what happened: what does natively, and in a mode what may."""

    def note(function):
        ROWS.append((number, function, natively, offloaded, mode))
        return function

    return note


def name_of(number):
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode[number]


def said(call, *arguments):
    """What a call returns, or the name of its error."""
    try:
        return call(*arguments)
    except OSError as e:
        return name_of(e.errno)


def raw(number, *arguments):
    """A call by its number: its result, or the name of its error."""
    words = [a if isinstance(a, (ctypes._Pointer, ctypes.Array)) else ctypes.c_long(a or 0) for a in arguments]
    r = libc.syscall(ctypes.c_long(number), *words)
    return r if r >= 0 else name_of(ctypes.get_errno())


def half_a_buffer(pages):
    """Memory whose second half is not there."""
    at = libc.mmap(None, 2 * pages * PAGE, 3, 0x22, -1, 0)
    libc.munmap(at + pages * PAGE, pages * PAGE)
    ctypes.memset(at, ord("x"), pages * PAGE)
    return at


def pair(kind=socket.SOCK_STREAM):
    """Two ends of a connection over the loopback."""
    if kind == socket.SOCK_DGRAM:
        ends = [socket.socket(socket.AF_INET, kind) for _ in range(2)]
        for s in ends:
            s.bind(("127.0.0.1", 0))
        ends[0].connect(ends[1].getsockname())
        ends[1].connect(ends[0].getsockname())
        return ends
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        return a, listener.accept()[0]


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def told(epoll):
    """What an epoll set tells of its one member."""
    events = epoll.poll(0.3)
    return "nothing" if not events else "ERR" if events[0][1] & select.EPOLLERR else "something else"


# --- readiness


@row(1, "ERR", "no ERR")
def an_error_while_a_poll_waits():
    a, b = pair()
    polled = select.poll()
    polled.register(a, select.POLLIN)
    threading.Timer(0.3, reset, [b]).start()
    return "ERR" if polled.poll(5000)[0][1] & select.POLLERR else "no ERR"


@row(2, "ERR", "nothing")
def an_error_of_a_member_that_asks_for_nothing():
    a, b = pair(socket.SOCK_DGRAM)
    epoll = select.epoll()
    epoll.register(a, select.EPOLLET)
    epoll.poll(0)
    b.close()
    a.send(b"x")
    return told(epoll)


# --- memory that faults


@row(3, "a part", "EFAULT")
def a_receive_whose_memory_ends():
    a, b = pair()
    a.sendall(b"y" * 120_000)
    time.sleep(0.2)
    r = libc.recv(b.fileno(), ctypes.c_void_p(half_a_buffer(20)), 120_000, 0)
    got = max(r, 0)
    while got < 120_000:
        got += len(b.recv(1 << 20))
    return "a part" if r > 0 else name_of(ctypes.get_errno())


@row(4, "ECONNRESET", "the end")
def a_close_after_it():
    a, b = pair()
    a.send(b"y" * 10000)
    time.sleep(0.1)
    libc.recv(b.fileno(), ctypes.c_void_p(half_a_buffer(1)), 10000, 0)
    b.close()
    time.sleep(0.1)
    return said(a.recv, 1) or "the end"


@row(5, "ERR", "nothing")
def a_wait_that_cannot_tell():
    a, b = pair(socket.SOCK_DGRAM)
    epoll = select.epoll()
    epoll.register(a, select.EPOLLET)
    b.close()
    a.send(b"x")
    time.sleep(0.1)
    libc.epoll_wait(epoll.fileno(), ctypes.c_void_p(16), 8, 0)
    return told(epoll)


# --- transfers


@row(6, "waits", "gets bytes", "waits")
def a_reader_beside_a_splice():
    r, w = os.pipe()
    a, b = pair()
    a.setblocking(False)
    while said(a.send, b"z" * 65536) != "EAGAIN":
        pass
    a.setblocking(True)
    os.write(w, b"0123456789")
    splices = threading.Thread(target=raw, args=(SYS_SPLICE, r, 0, a.fileno(), 0, 10, 0), daemon=True)
    splices.start()
    time.sleep(0.3)
    reads = threading.Thread(target=os.read, args=(r, 10), daemon=True)
    reads.start()
    reads.join(0.3)
    outcome = "waits" if reads.is_alive() else "gets bytes"
    reset(b)  # Both come back.
    os.write(w, b"0123456789")
    return outcome


@row(7, "4", "EXDEV")
def a_copy_from_kernel_to_kernel():
    with open("one", "w+b") as one, open(f"{DIRECTORY}/other", "w+b") as other:
        one.write(b"text")
        one.flush()
        one.seek(0)
        return raw(SYS_COPY_FILE_RANGE, one.fileno(), None, other.fileno(), None, 4, 0)


@row(8, "4", "EINVAL")
def a_file_to_the_null_device():
    with open(f"{DIRECTORY}/text", "w+b") as f, open("/dev/null", "wb") as null:
        f.write(b"text")
        f.flush()
        return said(os.sendfile, null.fileno(), f.fileno(), 0, 4)


@row(9, "after!", "before")
def a_page_that_changes_in_a_pipe():
    r, w = os.pipe()
    with open(f"{DIRECTORY}/page", "w+b", buffering=0) as f:
        f.write(b"before")
        f.seek(0)
        raw(SYS_SPLICE, f.fileno(), None, w, None, 6, 0)
        os.pwrite(f.fileno(), b"after!", 0)
    return os.read(r, 6).decode()


@row(10, "a text", "ESPIPE", mode="bpf")
def a_file_of_the_network_by_an_offset():
    fd = os.open("/proc/net/dev", os.O_RDONLY)
    r = said(os.pread, fd, 5, 0)
    return "a text" if isinstance(r, bytes) else r


# --- options and requests


@row(11, "EOPNOTSUPP, EOPNOTSUPP", "ENOPROTOOPT, EINVAL")
def an_option_that_is_not_known():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    length = ctypes.c_int(-1)
    value = ctypes.c_int()
    unknown = said(s.getsockopt, socket.IPPROTO_TCP, 4242, 4)
    libc.getsockopt(s.fileno(), socket.IPPROTO_TCP, 1, ctypes.byref(value), ctypes.byref(length))
    return f"{unknown}, {name_of(ctypes.get_errno())}"


@row(12, "EOPNOTSUPP", "ENOTTY")
def a_request_of_a_driver():
    with socket.socket(socket.AF_INET) as s:
        return said(fcntl.ioctl, s, SIOCDEVPRIVATE, struct.pack("16s24x", b"lo"))


@row(13, "an address", "ENODEV")
def a_socket_that_is_mapped():
    with socket.socket(socket.AF_INET) as s:
        at = libc.mmap(None, PAGE, 1, 1, s.fileno(), 0)
        return name_of(ctypes.get_errno()) if at == FAILED else "an address"


# --- packet rings


def with_ring(option=PACKET_RX_RING):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("lo", 0))
    s.setsockopt(SOL_PACKET, PACKET_VERSION, 1)
    s.setsockopt(SOL_PACKET, option, struct.pack("IIII", PAGE, 4, 2048, 8))
    return s


@row(14, "an address", "ENODEV", mode="bpf")
def a_ring_that_is_only_read():
    with with_ring() as s:
        at = libc.mmap(None, 4 * PAGE, 1, 1, s.fileno(), 0)
        return name_of(ctypes.get_errno()) if at == FAILED else "an address"


@row(15, "is as it was", "stamps packets")
def the_socket_of_a_ring():
    with with_ring() as s:
        libc.mmap(None, 4 * PAGE, 3, 1, s.fileno(), 0)
        return "stamps packets" if s.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS) else "is as it was"


@row(16, "a ring", "ENOPROTOOPT")
def a_ring_to_send_from():
    s = said(with_ring, PACKET_TX_RING)
    return s if isinstance(s, str) else "a ring"


# --- files


@row(17, "50", "EOPNOTSUPP")
def many_extents():
    with open(f"{DIRECTORY}/extents", "w+b", buffering=0) as f:
        for i in range(50):
            os.pwrite(f.fileno(), b"x", 2 * i * PAGE)
        os.fsync(f.fileno())
        request = bytearray(struct.pack("=QQIIII", 0, 1 << 40, 0, 0, 50, 0) + bytes(56 * 50))
        r = said(fcntl.ioctl, f, FIEMAP, request, True)
        if MODE == "native" and r:
            return f"{CANNOT} {r}"
        return r or struct.unpack_from("=I", request, 20)[0]


@row(18, "0", "ENOENT")
def attributes_by_a_path():
    attributes = ctypes.create_string_buffer(24)
    open(f"{DIRECTORY}/attributes", "w").close()
    path = ctypes.create_string_buffer(f"{DIRECTORY}/attributes".encode())
    r = raw(SYS_FILE_GETATTR, -100, path, attributes, 24, 0)
    return f"{CANNOT} {r}" if MODE == "native" and r in ("ENOSYS", "EOPNOTSUPP", "ENOTTY") else r


# --- BPF and AF_XDP


def bpf(command, *words):
    return raw(SYS_BPF, command, ctypes.create_string_buffer(struct.pack("=" + "".join(w for w, _ in words),
                                                                         *[v for _, v in words]), 128), 128)


def new_map(kind, key, value, entries):
    return bpf(BPF_MAP_CREATE, ("I", kind), ("I", key), ("I", value), ("I", entries))


@row(19, "a filter", "EINVAL")
def a_program_at_a_socket():
    # return 0, without a licence
    text = ctypes.create_string_buffer(struct.pack("=QQ", 0xB7, 0x95), 16)
    licence = ctypes.create_string_buffer(b"GPL")
    fd = bpf(5, ("I", 1), ("I", 2), ("Q", ctypes.addressof(text)), ("Q", ctypes.addressof(licence)))
    if isinstance(fd, str):
        return f"{CANNOT} {fd}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return said(s.setsockopt, socket.SOL_SOCKET, SO_ATTACH_BPF, fd) or "a filter"


@row(20, "a map", "EINVAL", mode="bpf")
def a_map_to_be_mapped():
    r = new_map(BPF_RINGBUF, 0, 0, PAGE)
    return (f"{CANNOT} {r}" if MODE == "native" else r) if isinstance(r, str) else "a map"


@row(21, "each", "the first", mode="bpf")
def values_of_each_processor():
    with open("/sys/devices/system/cpu/possible") as f:
        processors = int(f.read().strip().split("-")[-1]) + 1
    fd = new_map(BPF_PERCPU_ARRAY, 4, 8, 1)
    if isinstance(fd, str) or processors == 1:
        return f"{CANNOT} {fd}, {processors} processors"
    key = ctypes.create_string_buffer(4)
    value = (ctypes.c_uint64 * processors)(*[7] * processors)
    words = ("I", fd), ("I", 0), ("Q", ctypes.addressof(key)), ("Q", ctypes.addressof(value)), ("Q", 0)
    bpf(BPF_MAP_UPDATE, *words)
    ctypes.memset(value, 0, 8 * processors)
    bpf(BPF_MAP_LOOKUP, *words)
    return "each" if list(value) == [7] * processors else "the first" if list(value)[0] == 7 else list(value)


@row(22, "a socket", "EAFNOSUPPORT")
def a_socket_of_xdp():
    s = said(socket.socket, AF_XDP, socket.SOCK_RAW)
    return s if isinstance(s, str) else "a socket"


# --- messages


@row(23, "200000", "EMSGSIZE")
def a_long_message_for_a_cipher():
    s = said(socket.socket, socket.AF_ALG, socket.SOCK_SEQPACKET)
    if isinstance(s, str):
        return f"{CANNOT} {s}"
    s.bind(("hash", "sha256"))
    with s.accept()[0] as hashing:
        return said(os.writev, hashing.fileno(), [b"x" * 100000] * 2)


# --- time


@row(24, "ends the call", "ends the call")
def a_signal_while_a_call_blocks():
    def handler(*_):
        raise InterruptedError(errno.EINTR, "")

    a, b = pair()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    outcome = "ends the call" if said(a.recv, 1) == "EINTR" else "does not"
    b.close()
    return outcome


# --- signals of what arrives, namespaces


@row(25, "at once", "at once", "later")
def a_signal_of_what_arrives():
    a, b = pair()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    fcntl.fcntl(b, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(b, fcntl.F_SETFL, os.O_ASYNC)
    a.send(b"x")
    at_once = signal.SIGIO in signal.sigpending()
    return "never" if not signal.sigtimedwait([signal.SIGIO], 10) else "at once" if at_once else "later"


@row(26, "0", "EINVAL")
def another_network():
    r, w = os.pipe()
    if os.fork() == 0:
        os.write(w, str(raw(SYS_UNSHARE, CLONE_NEWNET)).encode())
        os._exit(0)
    os.wait()
    return os.read(r, 100).decode()


# --- calls that do not trap


def exchange(a, b, times):
    """So many round trips: after some the shim makes such calls."""
    for _ in range(times):
        a.send(b"question")
        b.recv(100)
        b.send(b"answer")
        a.recv(100)


@row(27, "ECONNRESET", "ECONNRESET", "is taken")
def a_send_after_a_reset():
    a, b = pair()
    exchange(a, b, 200)
    a.send(b"question")
    reset(b)
    r = said(a.send, b"more")
    return r if isinstance(r, str) else "is taken"


@row(28, "untouched", "untouched", "written to")
def the_buffer_of_a_receive_that_finds_nothing():
    a, b = pair()
    exchange(a, b, 200)
    b.setblocking(False)
    buffer = bytearray(100)
    said(b.recv_into, buffer)
    return "written to" if any(buffer) else "untouched"


@row(29, "HUP", "HUP", "nothing")
def the_end_of_a_process_that_had_the_peer():
    a, b = pair()
    exchange(a, b, 200)
    epoll = select.epoll()
    epoll.register(a, select.EPOLLRDHUP)
    for _ in range(200):
        epoll.poll(0)
    if os.fork() == 0:
        os._exit(0)
    b.close()
    os.wait()
    return "HUP" if epoll.poll(0) else "nothing"


# --- the library kernel's version and configuration


@row(30, "EOPNOTSUPP, accepted", "accepted, ENOPROTOOPT")
def what_kernels_differ_in():
    with socket.socket(socket.AF_INET) as s, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        credentials = said(s.setsockopt, socket.SOL_SOCKET, SO_PASSCRED, 1) or "accepted"
        return f"{credentials}, {said(u.setsockopt, socket.IPPROTO_UDP, UDP_ENCAP, 2) or 'accepted'}"


wrong = 0
for number, function, natively, offloaded, mode in sorted(ROWS, key=lambda r: r[0]):
    if MODE not in ("native", mode):
        continue
    documented = (natively,) if MODE == "native" else offloaded
    try:
        happens = str(function())
    except Exception as e:
        happens = repr(e)
    right = happens in documented or (MODE == "native" and happens.startswith(CANNOT))
    wrong += not right
    not_so = "" if right else f", where {' or '.join(documented)} is documented"
    print(f"{number} {function.__name__.replace('_', ' ')}: {happens}{not_so}", flush=True)
sys.exit(wrong > 0)
