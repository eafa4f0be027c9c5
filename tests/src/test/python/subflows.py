# SPDX-License-Identifier: MIT
"""An MPTCP connection to a listener whose kernel announces a second address."""
import socket
import subprocess
import sys
import time

PORT = int(sys.argv[1])
IPPROTO_MPTCP = 262
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", PORT))
listener.listen()
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
client.connect(("127.0.0.1", PORT))
server, _ = listener.accept()
deadline = time.monotonic() + 20
ends = 0
while ends < 4 and time.monotonic() < deadline:
    client.sendall(b"x" * 1000)
    server.recv(1000, socket.MSG_WAITALL)
    server.sendall(b"y")
    client.recv(1)
    shown = subprocess.run(
        ["ss", "-HtnO", "state", "established"], capture_output=True, text=True, check=True)
    ends = sum(":%d" % PORT in line for line in shown.stdout.splitlines())
print("ends of subflows:", ends)
if ends != 4:
    print(shown.stdout, file=sys.stderr)
