# SPDX-License-Identifier: MIT
"""libxdp_frames.py: sends and receives frames by Debian's libxdp, which loads its own XDP program.

On a veth pair that it makes; a packet socket has the other end. The structures are those of
include/xdp/xsk.h.
"""
import ctypes
import mmap
import select
import socket
import subprocess
from ctypes import POINTER, Structure, byref, c_uint16, c_uint32, c_uint64, c_void_p

FRAMES, BYTES = 64, 2048
SKB_MODE, COPY, NEED_WAKEUP = 1 << 1, 1 << 1, 1 << 3
XDP, C = ctypes.CDLL("libxdp.so.1"), ctypes.CDLL(None)


class Ring(Structure):
    _fields_ = [
        *((n, c_uint32) for n in ("cached_producer", "cached_consumer", "mask", "size")),
        *((n, POINTER(c_uint32)) for n in ("producer", "consumer")),
        ("ring", c_void_p),
        ("flags", POINTER(c_uint32)),
    ]


class MemoryConfiguration(Structure):
    _fields_ = [(n, c_uint32) for n in ("fill", "completion", "frame", "headroom", "flags")]


class SocketConfiguration(Structure):
    _fields_ = [(n, c_uint32) for n in ("rx", "tx", "libxdp", "xdp")] + [("bind", c_uint16)]


def frame(i):
    return b"\xff" * 6 + b"\2" * 6 + b"\x88\xb5" + bytes((i + k) & 255 for k in range(50 + i * 20))


def descriptor(ring, i):
    return ctypes.cast(ring.ring + 16 * (i % FRAMES), POINTER(c_uint64 * 2)).contents


for words in "link add obx0 type veth peer name obx1", "link set obx0 up", "link set obx1 up":
    subprocess.run(["ip", *words.split()], check=True)
memory = mmap.mmap(-1, FRAMES * BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
umem, xsk = c_void_p(), c_void_p()
fill, completion, rx, tx = Ring(), Ring(), Ring(), Ring()
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
print("memory", XDP.xsk_umem__create(
    byref(umem), c_void_p(start), c_uint64(FRAMES * BYTES), byref(fill), byref(completion),
    byref(MemoryConfiguration(FRAMES, FRAMES, BYTES, 0, 0))))
print("socket", XDP.xsk_socket__create(
    byref(xsk), b"obx0", 0, umem, byref(rx), byref(tx),
    byref(SocketConfiguration(FRAMES, FRAMES, 0, SKB_MODE, COPY | NEED_WAKEUP))), flush=True)
fd = XDP.xsk_socket__fd(xsk)
far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
far.bind(("obx1", 0x88B5))
far.settimeout(20)

half = FRAMES // 2
for i in range(half):
    f = frame(i)
    memory[i * BYTES : i * BYTES + len(f)] = f
    descriptor(tx, i)[:] = i * BYTES, len(f)
tx.producer[0] = half
C.sendto(fd, None, 0, socket.MSG_DONTWAIT, None, 0)
sent = 0
while sent < half:
    if completion.producer[0] == sent:
        C.sendto(fd, None, 0, socket.MSG_DONTWAIT, None, 0)
    sent += far.recv(4096) == frame(sent)
while completion.producer[0] < half:
    C.sendto(fd, None, 0, socket.MSG_DONTWAIT, None, 0)
print("sent", sent, "completed", completion.producer[0])

free = ctypes.cast(fill.ring, POINTER(c_uint64 * FRAMES)).contents
free[:half] = [(half + i) * BYTES for i in range(half)]
fill.producer[0] = half
for i in range(half):
    far.send(frame(i))
waits, received = select.poll(), 0
waits.register(fd, select.POLLIN)
while received < half:
    if rx.producer[0] == received:
        assert waits.poll(20_000), f"only {received} frames came"
        continue
    at, size = descriptor(rx, received)
    assert memory[at : at + size] == frame(received), received
    received += 1
    rx.consumer[0] = received
print("received", received)
XDP.xsk_socket__delete(xsk)
print("end", XDP.xsk_umem__delete(umem))
