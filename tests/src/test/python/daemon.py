# SPDX-License-Identifier: MIT
"""daemon.py ADDRESS PORT: becomes a daemon as daemon(3) does, and serves its pid to who connects;
ends when told "stop"."""
import os
import socket
import sys

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
if os.fork():
    os._exit(0)
os.setsid()
null = os.open("/dev/null", os.O_RDWR)
for fd in range(3):
    os.dup2(null, fd)
os.close(null)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"%d\n" % os.getpid())
        if connection.recv(100).strip() == b"stop":
            break
