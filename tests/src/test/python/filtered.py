# SPDX-License-Identifier: MIT
"""Connects to ports that rules of a packet filter may refuse, drop or translate."""

import socket
import threading

listener = socket.create_server(("127.0.0.1", 7000))


def serve():
    while True:
        connection, address = listener.accept()
        with connection:
            connection.sendall(address[0].encode())


def ask(what, port, host="127.0.0.1", source="0.0.0.0"):
    try:
        # Less than a second, after which the first segment would be counted again.
        with socket.create_connection((host, port), 0.6, (source, 0)) as c:
            print(f"{what}: {c.recv(99).decode()}")
    except OSError as e:
        print(f"{what}: {type(e).__name__}")


threading.Thread(target=serve, daemon=True).start()
ask("let in", 7000)
ask("refused", 7001)
ask("dropped", 7003)
ask("redirected", 7004)
ask("translated at its destination", 80, host="192.0.2.9", source="127.0.0.1")
ask("translated at its source", 7000, source="127.0.0.5")
ask("of two, the first", 7005)
ask("of two, the second", 7005)
ask("counted", 7006)

with socket.create_server(("127.0.0.1", 7008)), socket.create_connection(("127.0.0.1", 7008)):
    ask("one too many", 7008)

with socket.socket() as transparent:
    transparent.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
    transparent.bind(("127.0.0.1", 7010))
    transparent.listen()
    transparent.settimeout(0.6)
    try:
        with socket.create_connection(("127.0.0.1", 7009), 0.6), transparent.accept()[0] as c:
            print("taken, as", c.getsockname())
    except OSError as e:
        print(f"taken: {type(e).__name__}")

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
    u.settimeout(5)
    u.connect(("127.0.0.1", 7002))
    u.send(b"x")
    try:
        u.recv(1)
    except OSError as e:
        print(f"UDP, refused: {type(e).__name__}")
    for port in 7007, 7011:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as v:
            v.bind(("127.0.0.1", port))
            v.settimeout(0.3)
            u.connect(("127.0.0.1", port))
            try:
                u.send(b"x")
                print("UDP:", v.recv(1))
            except OSError as e:
                print(f"UDP: {type(e).__name__}")
