# SPDX-License-Identifier: MIT
"""Speaks all three protocols of a memcached at the port given: ASCII, binary, and UDP."""
import socket
import struct
import sys
import threading

PORT = int(sys.argv[1])
wrong = []


def connected():
    s = socket.create_connection(("127.0.0.1", PORT))
    return s, s.makefile("rb")


def client(number):
    s, f = connected()
    for i in range(100):
        value = (b"%d-%d-" % (number, i)) * 200
        s.sendall(b"set k%d 0 0 %d\r\n%s\r\n" % (number, len(value), value))
        stored = f.readline()
        s.sendall(b"get k%d\r\n" % number)
        f.readline()
        got = f.read(len(value) + 2)
        if (stored, got, f.readline()) != (b"STORED\r\n", value + b"\r\n", b"END\r\n"):
            wrong.append((number, i))
    s.close()


def binary(operation, key=b"", value=b"", extras=b""):
    length = len(key) + len(extras) + len(value)
    header = struct.pack(
        ">BBHBBHIIQ", 0x80, operation, len(key), len(extras), 0, 0, length, 0, 0)
    return header + extras + key + value


def answer(f):
    _, operation, keys, extras, _, status, length, _, _ = struct.unpack(
        ">BBHBBHIIQ", f.read(24))
    return operation, status, f.read(length)[extras + keys:]


threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("wrong:", wrong)

s, f = connected()
s.sendall(binary(1, b"long", b"v" * 500000, struct.pack(">II", 7, 0)))
print("set:", answer(f)[:2])
s.sendall(binary(0, b"long"))
operation, status, value = answer(f)
print("get:", operation, status, len(value))
s.sendall(b"".join(binary(9, b"missing%d" % i) for i in range(1000)) + binary(10))
print("quiet gets end with:", answer(f)[0])
for _ in range(2):
    s.sendall(binary(5, b"number", extras=struct.pack(">QQI", 5, 40, 0)))
    print("incremented:", struct.unpack(">Q", answer(f)[2])[0])

u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(10)
u.sendto(b"\0\7\0\0\0\1\0\0get k3\r\n", ("127.0.0.1", PORT))
d = u.recv(65536)
print("datagram:", d[:8].hex(), d[8:19], len(d))
