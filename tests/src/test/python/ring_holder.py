# SPDX-License-Identifier: MIT
"""ring_holder WORD: maps a ring of a packet socket, and then what WORD says.

held       says "mapped", and keeps it until it is killed
refused    says what mmap answers (a debugger may trace this process)
surviving  goes on reading, line by line of standard input, whatever happens to the device
"""
import errno, mmap, select, socket, struct, sys, time

SOL_PACKET, RX_RING, VERSION, V2 = 263, 5, 10, 1
SIZE, BLOCKS, FRAME = 8192, 4, 2048


def ring():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(SOL_PACKET, VERSION, V2)
    s.setsockopt(SOL_PACKET, RX_RING, struct.pack("4I", SIZE, BLOCKS, FRAME, SIZE // FRAME * BLOCKS))
    memory = mmap.mmap(s.fileno(), SIZE * BLOCKS, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    s.bind(("lo", 3))
    return s, memory


def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x" * 50, ("127.0.0.1", 9))


def filled(memory):
    return sum(struct.unpack_from("=I", memory, i * FRAME)[0] & 1 for i in range(SIZE // FRAME * BLOCKS))


def caught(call):
    try:
        return call()
    except OSError as e:
        return errno.errorcode[e.errno]


word = sys.argv[1]
if word == "refused":
    print("mmap:", caught(ring), flush=True)
    sys.exit()
s, memory = ring()
datagram()
p = select.poll()
p.register(s, select.POLLIN)
p.poll(5000)
print("mapped", filled(memory) > 0, flush=True)
if word == "held":
    while True:
        time.sleep(60)
line = sys.stdin.readline()
if line.strip() == "still?":
    before = filled(memory)
    datagram()
    deadline = time.monotonic() + 5
    while filled(memory) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    print("filled", filled(memory) > before, flush=True)
    sys.stdin.readline()
# The device is lost now.
before = filled(memory)
print("waiting ends:", bool(p.poll(5000)), flush=True)
print("recv:", caught(lambda: s.recv(99, socket.MSG_DONTWAIT)), flush=True)
print("option:", caught(lambda: s.getsockopt(SOL_PACKET, 6, 8)), flush=True)
print("another:", caught(ring), flush=True)
print("its memory:", filled(memory) == before > 0, flush=True)
memory.close()
s.close()
print("closed", flush=True)
