# SPDX-License-Identifier: MIT
"""refused.py DIRECTORY: asks for what a kernel of another machine cannot give, and says what came of it."""
import ctypes
import errno
import mmap
import os
import socket
import struct
import sys

AF_XDP, SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, TCP_ZEROCOPY_RECEIVE = 44, 263, 10, 13, 35
SYS_BPF, BPF_MAP_CREATE, SO_ATTACH_BPF = 321, 0, 50
IN_ALL_EVENTS = 0xFFF

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]


def said(what, failed):
    print(what, errno.errorcode[ctypes.get_errno()] if failed else "done")


def mapped(what, fd, protection, flags):
    said(what, libc.mmap(None, 8192, protection, flags, fd, 0) == ctypes.c_void_p(-1).value)


def asked(what, call, *arguments):
    try:
        call(*arguments)
        print(what, "done")
    except OSError as e:
        print(what, errno.errorcode[e.errno])


directory = sys.argv[1]
f = os.open(directory + "/f", os.O_RDWR | os.O_CREAT)
os.truncate(f, 8192)
mapped("shared mapping to write to", f, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED)
mapped("shared mapping to read", f, mmap.PROT_READ, mmap.MAP_SHARED)
mapped("private mapping", f, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE)
notices = libc.inotify_init1(0)
for what, path in (
    ("a directory", directory),
    ("a file of the network", "/proc/net/dev"),
    ("the host's", "."),
):
    said("inotify of " + what, libc.inotify_add_watch(notices, path.encode(), IN_ALL_EVENTS) < 0)
said("AF_XDP", libc.socket(AF_XDP, socket.SOCK_RAW, 0) < 0)
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
asked("PACKET_TX_RING", packets.setsockopt, SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", 4096, 1, 2048, 2))
server = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(server.getsockname())
peer = server.accept()[0]
mapped("mapping of a connection", connection.fileno(), mmap.PROT_READ, mmap.MAP_SHARED)
asked("TCP_ZEROCOPY_RECEIVE", connection.getsockopt, socket.IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, 64)
attributes = ctypes.create_string_buffer(struct.pack("IIIII", 1, 4, 4, 1, 0), 72)
made = libc.syscall(SYS_BPF, BPF_MAP_CREATE, attributes, 72)
# A kernel may refuse it to anybody, or to all but root.
host = made < 0 or os.readlink("/proc/self/fd/%d" % made) in ("anon_inode:bpf-map", "anon_inode:bpf_map")
print("bpf(2) is the", "host's" if host else "device's")
asked("SO_ATTACH_BPF of it", connection.setsockopt, socket.SOL_SOCKET, SO_ATTACH_BPF, max(made, 0))
peer.sendall(b"x")
assert connection.recv(4) == b"x"
print("received nevertheless")
