# SPDX-License-Identifier: MIT
"""Sends numbers and checks those that it gets, over one connection, both at once and without end;
and appends numbers to a file. A line on standard input ends it. Prints what it has done.

numbered.py listen PORT | connect PORT FILE"""
import os
import socket
import struct
import sys
import threading

role, port = sys.argv[1], int(sys.argv[2])
if role == "listen":
    listener = socket.create_server(("127.0.0.1", port))
    print("listening", flush=True)
    link, _ = listener.accept()
else:
    link = socket.create_connection(("127.0.0.1", port))
NUMBERS = 1024
over = threading.Event()
done = {}


def attempt(what, function):
    def guarded():
        try:
            done[what] = function()
        except Exception as e:
            done[what] = repr(e)
        print(what, done[what], flush=True)

    thread = threading.Thread(target=guarded)
    thread.start()
    return thread


def send():
    n = 0
    while not over.is_set():
        link.sendall(struct.pack("<%dQ" % NUMBERS, *range(n, n + NUMBERS)))
        n += NUMBERS
    link.shutdown(socket.SHUT_WR)
    return n


def receive():
    n = 0
    rest = b""
    while True:
        some = link.recv(65536)
        if not some:
            break
        rest += some
        whole = len(rest) // 8
        got = struct.unpack_from("<%dQ" % whole, rest)
        if got != tuple(range(n, n + whole)):
            raise ValueError("after number %d" % n)
        rest = rest[whole * 8:]
        n += whole
    if rest:
        raise ValueError("%d bytes left" % len(rest))
    over.set()
    return n


def append():
    file = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    n = 0
    while not over.is_set():
        line = b"%d\n" % n
        written = os.write(file, line)
        if written != len(line):
            raise ValueError("wrote %d" % written)
        n += 1
    os.close(file)
    return n


threads = [attempt("sent", send), attempt("received", receive)]
if role == "connect":
    threads.append(attempt("appended", append))
    print("ready", flush=True)
    sys.stdin.readline()
    over.set()
for thread in threads:
    thread.join()
