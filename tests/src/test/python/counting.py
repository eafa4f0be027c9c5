# SPDX-License-Identifier: MIT
"""What peers of programs have in common that number their bytes: ahead_peer.py, peeked_peer.py"""

import socket
import sys
import threading

PERIOD = 251


def counting(periods):
    return bytes(i % PERIOD for i in range(PERIOD)) * periods


def line(s):
    """The next line without its end; None at the end of the stream."""
    got = b""
    while not got.endswith(b"\n"):
        b = s.recv(1)
        if not b:
            return None
        got += b
    return got.decode()[:-1]


def listen(serve, *more):
    """Says when it is up, and serves each connection in a thread: ADDRESS PORT are the arguments"""
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
    print("up", flush=True)
    while True:
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(accepted, *more), daemon=True).start()
