# SPDX-License-Identifier: MIT
"""Processes forked by one that has done little, each of which makes one kind of call and no other:
they send by a connection of their own. Says how many numbers came.

workers.py WORKERS SENDS"""
import os
import signal
import socket
import sys

workers, sends = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
came = 0
for worker in range(workers):
    connection = socket.create_connection(listener.getsockname())
    pid = os.fork()
    if pid == 0:
        for n in range(sends):
            connection.send(n.to_bytes(4, "big"))
        os.kill(os.getpid(), signal.SIGKILL)
    connection.close()
    end = listener.accept()[0]
    while data := end.recv(4, socket.MSG_WAITALL):
        assert int.from_bytes(data, "big") == came % sends
        came += 1
    end.close()
    os.waitpid(pid, 0)
print(came)
