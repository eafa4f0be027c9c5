# SPDX-License-Identifier: MIT
"""What a program sees when its device is gone. Prints "ready", then a line for each blocked call
as it comes back, and after a line on standard input one for each further call."""
import errno
import os
import select
import socket
import sys
import threading

listener = socket.create_server(("127.0.0.1", 0))


def pair():
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    return one, other


def attempt(what, call):
    try:
        result = call()
        print(what, "returned", result, flush=True)
    except OSError as e:
        print(what, "failed with", errno.errorcode.get(e.errno, e.errno), flush=True)


kept = [pair() for _ in range(5)]
quiet = socket.socket()
quiet.bind(("127.0.0.1", 0))
quiet.listen()
waiter = select.epoll()
waiter.register(kept[2][0], select.EPOLLIN)
read_end, write_end = os.pipe()
blocked = {
    "recv": lambda: kept[0][0].recv(1),
    "accept": quiet.accept,
    "read": lambda: os.read(kept[1][0].fileno(), 1),
    "epoll": lambda: "woken" if waiter.poll(30) else "a time-out",
    "poll": lambda: "woken" if poller.poll(30000) else "a time-out",
}
poller = select.poll()
poller.register(kept[3][0], select.POLLIN)
threads = [threading.Thread(target=attempt, args=item) for item in blocked.items()]
host = threading.Thread(target=lambda: print("the pipe says", os.read(read_end, 9).decode()))
for thread in [*threads, host]:
    thread.start()
print("ready", flush=True)
sys.stdin.readline()
for thread in threads:
    thread.join()
attempt("later send", lambda: kept[4][0].send(b"x"))
attempt("later recv", lambda: kept[4][0].recv(1))
attempt("later socket", socket.socket)
attempt("later getsockname", kept[4][0].getsockname)
os.write(write_end, b"still here")
host.join()
with open("host-file", "w") as f:
    f.write("host files work")
print("close:", kept[4][0].close(), flush=True)
print("alive", flush=True)
