# SPDX-License-Identifier: MIT
"""Many calls on pipes, then a seccomp filter that refuses every madvise, in this process and a child.

The filter: madvise answers EPERM, all else is allowed. What the program could do before it can do
after.
"""
import ctypes
import os
import socket
import struct

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
MADVISE = 28


def exchange(count):
    r, w = os.pipe()
    for i in range(count):
        os.write(w, b"%d" % i)
        assert os.read(r, 100) == b"%d" % i
    os.close(r)
    os.close(w)


def instruction(code, true, false, k):
    return struct.pack("HBBI", code, true, false, k)


exchange(500)
program = (
    instruction(0x20, 0, 0, 0)
    + instruction(0x15, 0, 1, MADVISE)
    + instruction(0x06, 0, 0, 0x00050001)
    + instruction(0x06, 0, 0, 0x7FFF0000)
)
code = ctypes.create_string_buffer(program)
prog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, FILTER, prog, 0, 0) == 0
exchange(500)
print("exchanged under a filter")
child = os.fork()
if child == 0:
    exchange(500)
    a, b = socket.socketpair()
    a.send(b"x")
    assert b.recv(1) == b"x"
    os._exit(0)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert libc.madvise(0, 0, 0) == -1 and ctypes.get_errno() == 1
print("madvise is refused")
