# SPDX-License-Identifier: MIT
"""Says what it hears: a child reads the terminal and sends each line over TCP to its parent.

First it says "ready PID", with the child's number.
"""
import os
import signal
import socket
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
listener = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
child = os.fork()
if child == 0:
    one.close()
    while line := sys.stdin.buffer.readline():
        other.sendall(line)
    os._exit(0)
other.close()
print("ready", child, flush=True)
while data := one.recv(1000):
    print("heard", data.decode().strip(), flush=True)
print("over", flush=True)
