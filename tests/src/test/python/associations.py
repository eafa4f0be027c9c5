# SPDX-License-Identifier: MIT
"""SCTP: messages, streams, several addresses, notifications, both styles of socket."""

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import threading

SOL_SCTP = socket.IPPROTO_SCTP
INITMSG, NODELAY, EVENTS, STATUS, RECVRCVINFO = 2, 3, 11, 14, 32
BINDX_ADD, PEELOFF, GET_PEER_ADDRS, CONNECTX = 100, 102, 108, 110
ASSOC_ID_LIST, PEELOFF_FLAGS = 29, 122
CMSG_SNDINFO, CMSG_RCVINFO = 2, 3
MSG_NOTIFICATION, MSG_EOR = 0x8000, 0x80
ASSOC_CHANGE, SHUTDOWN_COMP = 0x8001, 3


def ipv4(host, port):
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, socket.inet_aton(host))


def to_stream(s, data, stream, payload):
    info = struct.pack("=HHIIi", stream, 0, socket.htonl(payload), 0, 0)
    s.sendmsg([data], [(SOL_SCTP, CMSG_SNDINFO, info)])


def receive(s):
    data, control, flags, _ = s.recvmsg(200_000, 256)
    about = ""
    for level, kind, value in control:
        if (level, kind) == (SOL_SCTP, CMSG_RCVINFO):
            stream, _, _, payload = struct.unpack_from("=HHHxxI", value)
            about = f" on stream {stream}, payload {socket.ntohl(payload)}"
    return data, f"{len(data)} bytes, whole: {bool(flags & MSG_EOR)}{about}", flags


def library_errno(call):
    try:
        return call()
    except OSError as e:
        return e.strerror


# One-to-one: messages of one association keep apart.
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, SOL_SCTP)
server.setsockopt(SOL_SCTP, INITMSG, struct.pack("=HHHH", 12, 12, 0, 0))
server.bind(("127.0.0.1", 5001))
server.setsockopt(SOL_SCTP, BINDX_ADD, ipv4("127.0.0.2", 5001))
server.listen()
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, SOL_SCTP)
client.setsockopt(SOL_SCTP, NODELAY, 1)
client.setsockopt(SOL_SCTP, INITMSG, struct.pack("=HHHH", 7, 9, 0, 0))
# a positive result: the association's number
both = ipv4("127.0.0.1", 5001) + ipv4("127.0.0.2", 5001)
client.setsockopt(SOL_SCTP, CONNECTX, both)
peer, address = server.accept()
print("accepted from", address[0])
peer.setsockopt(SOL_SCTP, RECVRCVINFO, 1)
status = client.getsockopt(SOL_SCTP, STATUS, 256)
state, streams_in, streams_out = struct.unpack_from("=i8xHH", status, 4)
print(f"state {state}, streams in {streams_in}, out {streams_out}")
addresses = client.getsockopt(SOL_SCTP, GET_PEER_ADDRS, 1024)
count = struct.unpack_from("=I", addresses, 4)[0]
hosts = [addresses[8 + 16 * i + 4 : 8 + 16 * i + 8] for i in range(count)]
print("peer's addresses", sorted(map(socket.inet_ntoa, hosts)))

to_stream(client, b"first", 0, 1)
to_stream(client, b"second", 5, 77)
client.sendall(b"l" * 100_000)
for _ in range(3):
    print(receive(peer)[1])
try:
    client.send(b"l" * 1_000_000)
except OSError as e:
    print("too long:", e.strerror)
to_stream(client, b"0123456789", 1, 0)
print("in parts", peer.recv(4), peer.recv(99))

signals = []
signal.signal(signal.SIGPIPE, lambda *_: signals.append("SIGPIPE"))
client.close()
print("the end:", peer.recv(10))
try:
    peer.send(b"too late")
except OSError as e:
    print("after it:", e.strerror, signals)
peer.close()
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, SOL_SCTP)
try:
    s.connect(("127.0.0.1", 5009))
except OSError as e:
    print("nobody there:", e.strerror)
s.close()

# One-to-many, with what happens to the associations told in the stream of messages.
many = socket.socket(socket.AF_INET6, socket.SOCK_SEQPACKET, SOL_SCTP)
many.bind(("::1", 5002))
many.listen()
many.setsockopt(SOL_SCTP, EVENTS, bytes([1, 1] + [0] * 8))
clients = []
for i in range(2):
    c = socket.socket(socket.AF_INET6, socket.SOCK_SEQPACKET, SOL_SCTP)
    c.sendto(b"from %d" % i, ("::1", 5002))
    clients.append(c)
    seen = []
    while len(seen) < 2:
        data, text, flags = receive(many)
        if flags & MSG_NOTIFICATION:
            kind, _, _, state = struct.unpack_from("=HHIH", data)
            seen.append(f"up: {kind == ASSOC_CHANGE and state == 0}")
        else:
            seen.append(data.decode())
    print(seen)

# Associations get sockets of their own.
library = ctypes.CDLL("libsctp.so.1", use_errno=True)
count, *ids = struct.unpack_from("=Iii", many.getsockopt(SOL_SCTP, ASSOC_ID_LIST, 64))
print("associations", count)
print("no such association:", library.sctp_peeloff(many.fileno(), 99), errno.errorcode[ctypes.get_errno()])
lowest = os.dup(0)
os.close(lowest)
number = library.sctp_peeloff(many.fileno(), ids[0])
first = socket.socket(fileno=number)
print("peeled off:", number == lowest, first.type.name, first.getpeername()[0], os.get_inheritable(number))
value = struct.pack("=iii", ids[1], 0, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
value = ctypes.create_string_buffer(value, 12)
number = library.getsockopt(many.fileno(), SOL_SCTP, PEELOFF_FLAGS, value, ctypes.byref(ctypes.c_int(12)))
print("in the value:", struct.unpack_from("=i", value, 4)[0] == number)
second = socket.socket(fileno=number)
print("another:", os.get_blocking(number), os.get_inheritable(number))
print("no more:", library.sctp_peeloff(many.fileno(), ids[1]), errno.errorcode[ctypes.get_errno()])
print("by setsockopt:", library_errno(lambda: first.setsockopt(SOL_SCTP, PEELOFF, bytes(8))))
for peeled, c in zip((first, second), clients):
    c.sendto(b"to its own", ("::1", 5002))
    print(select.select([first, second], [], [], 10)[0] == [peeled], peeled.recv(99))
    peeled.send(b"and back")
    print(c.recv(99))
clients[0].close()
# What it was to be told of, its socket of its own is told of, too.
kind, _, _, state = struct.unpack_from("=HHIH", first.recv(99))
print("its end:", kind == ASSOC_CHANGE and state == SHUTDOWN_COMP)
print("the other goes on:", library_errno(lambda: second.recv(99)))
many.close()
second.send(b"still")
print(clients[1].recv(99))

# A sender that waits for room.
received = []


def drain():
    while data := receive(peer)[0]:
        received.append(len(data))


client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, SOL_SCTP)
client.connect(("127.0.0.1", 5001))
peer, _ = server.accept()
thread = threading.Thread(target=drain)
thread.start()
for _ in range(100):
    client.sendall(b"m" * 20_000)
client.shutdown(socket.SHUT_WR)
thread.join()
print("received", len(received), set(received))
peer.close()
