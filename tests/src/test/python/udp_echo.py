# SPDX-License-Identifier: MIT
"""Twenty questions to the first port given, which must get them to the second, where we answer."""
import socket
import sys
import threading

FRONT, BACK = ("127.0.0.1", int(sys.argv[1])), ("127.0.0.1", int(sys.argv[2]))
COUNT = 20
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(BACK)


def serve():
    for _ in range(COUNT):
        data, peer = server.recvfrom(2000)
        server.sendto(data.upper(), peer)


threading.Thread(target=serve, daemon=True).start()
right = 0
for i in range(COUNT):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.connect(FRONT)
        s.send(b"question %d" % i)
        right += s.recv(2000) == b"QUESTION %d" % i
print("datagrams answered:", right)
