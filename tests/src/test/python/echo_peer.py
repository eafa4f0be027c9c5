# SPDX-License-Identifier: MIT
"""Sends back what comes, on each connection: echo_peer.py ADDRESS PORT"""

from counting import listen


def serve(s):
    while b := s.recv(65536):
        s.sendall(b)
    s.close()


listen(serve)
