# SPDX-License-Identifier: MIT
"""Sends commands to the socket of haproxy, each in a connection of its own; prints the answers."""
import socket
import sys

for command in sys.argv[2:]:
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(command.encode() + b"\n")
    answer = b""
    while part := s.recv(65536):
        answer += part
    print(answer.decode().strip())
