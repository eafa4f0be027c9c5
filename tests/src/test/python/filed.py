# SPDX-License-Identifier: MIT
"""Sends numbers, most of them from a file to which it writes them first, over one connection on which
it never waits but for readiness, and checks the numbers that it gets. A line on standard input ends
it. Prints what it has done.

filed.py PORT FILE"""
import os
import select
import socket
import struct
import sys

BLOCK = 64 * 1024
link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
link.setblocking(False)
file = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
poller = select.poll()
poller.register(link, select.POLLIN | select.POLLOUT)
poller.register(sys.stdin, select.POLLIN)
sent, written, received = 0, 0, 0
rest = b""


def stream(at, count):
    """The bytes of the numbers from there on."""
    first = at // 8
    numbers = range(first, first + count // 8 + 2)
    return struct.pack("<%dQ" % len(numbers), *numbers)[at % 8:at % 8 + count]


def send(turn):
    global sent, written
    if sent + BLOCK // 4 > written:
        os.pwrite(file, stream(written, BLOCK), written)
        written += BLOCK
    if turn % 4 == 0:
        sent += link.send(stream(sent, 1000))
    else:
        sent += os.sendfile(link.fileno(), file, sent, written - sent)


def receive():
    """Whether more may come."""
    global rest, received
    some = link.recv(65536)
    rest += some
    whole = len(rest) // 8
    if struct.unpack_from("<%dQ" % whole, rest) != tuple(range(received, received + whole)):
        raise ValueError("after number %d" % received)
    rest = rest[whole * 8:]
    received += whole
    return bool(some)


def attempt(call, *args):
    try:
        return call(*args)
    except BlockingIOError:
        return None


# The first calls are made another way. All of these fit into the socket's buffer.
os.pwrite(file, stream(0, BLOCK), 0)
written = BLOCK
for _ in range(100):
    sent += os.sendfile(link.fileno(), file, sent, 10)
print("ready", flush=True)
turn = 0
while True:
    ready = dict(poller.poll())
    if sys.stdin.fileno() in ready:
        break
    events = ready.get(link.fileno(), 0)
    if events & select.POLLIN and attempt(receive) is False:
        raise ValueError("the other end has ended first")
    if events & select.POLLOUT:
        attempt(send, turn)
        turn += 1
link.setblocking(True)
link.sendall(stream(sent, -sent % 8))
sent += -sent % 8
link.shutdown(socket.SHUT_WR)
while receive():
    pass
if rest:
    raise ValueError("%d bytes left" % len(rest))
print("sent", sent // 8)
print("received", received)
