# SPDX-License-Identifier: MIT
"""Uses memory of the kernel until there is no more, holds it, and gives it back.

hoard.py udp|tcp|sockets|file [PATH]
Prints "full ERROR" once it is told that there is no more ("full lost" if datagrams are dropped
instead), waits for a line on its input, gives all back, prints "free", waits for the end of its
input.
"""
import errno
import os
import socket
import sys

PIECE = b"x" * 16384
MOST = 3000  # sockets; a limit ends it long before


def fill(sock):
    """Sends until the socket takes no more."""
    while True:
        try:
            sock.send(PIECE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return


def udp(held):
    """Ends when of what a socket was sent nothing has arrived."""
    for _ in range(150):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held.append(sock)
        sock.bind(("127.0.0.1", 0))
    for sock in held:
        for _ in range(40):
            sock.sendto(PIECE, sock.getsockname())
        try:
            sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return "lost"
    return None


def tcp(held):
    """Ends when there is no more connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    held.append(listener)
    while len(held) < MOST:
        one = socket.socket()
        held.append(one)
        one.connect(listener.getsockname())
        held.append(listener.accept()[0])
        fill(one)
    return None


def sockets(held):
    while len(held) < 100 * MOST:
        held.append(socket.socket())
    return None


def file(held):
    out = open(sys.argv[2], "wb", buffering=0)
    held.append(out)
    while out.write(PIECE):
        pass
    return None


held = []
try:
    why = {"udp": udp, "tcp": tcp, "sockets": sockets, "file": file}[sys.argv[1]](held)
except OSError as e:
    why = errno.errorcode[e.errno]
print("full", why, flush=True)
sys.stdin.readline()
for one in held:
    one.close()
if sys.argv[1] == "file":
    os.unlink(sys.argv[2])
print("free", flush=True)
sys.stdin.read()
