# SPDX-License-Identifier: MIT
"""disconnected.py: a stream that has hung up, is disconnected by connect(2) to AF_UNSPEC, and listens
then: what poll, ppoll, select and epoll say of it whenever they do not wait."""
import ctypes
import select
import socket
import struct

C = ctypes.CDLL(None, use_errno=True)
RDHUP = 0x2000


def looks(what):
    poll, epoll = select.poll(), SET.poll(0)
    poll.register(s, select.POLLIN | select.POLLOUT | RDHUP)
    entry = struct.pack("ihh", s.fileno(), select.POLLIN | select.POLLOUT, 0)
    entry, none = ctypes.create_string_buffer(entry, 8), struct.pack("qq", 0, 0)
    count = C.ppoll(entry, ctypes.c_ulong(1), none, None)
    print(what, [hex(e) for _, e in poll.poll(0)], count, hex(struct.unpack_from("h", entry, 6)[0]),
          [len(ready) for ready in select.select([s], [s], [s], 0)], [hex(e) for _, e in epoll])


listener = socket.create_server(("127.0.0.1", 0))
s = socket.create_connection(listener.getsockname())
c, _ = listener.accept()
SET = select.epoll()
SET.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)
looks("connected")
s.shutdown(socket.SHUT_WR)
c.close()
looks("hung up")
print(s.recv(10))
print("disconnected", C.connect(s.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16))
looks("disconnected")
print("listens", C.listen(s.fileno(), 3))
looks("listens")
client = socket.create_connection(s.getsockname())
looks("has a connection")
accepted, _ = s.accept()
looks("has none")
