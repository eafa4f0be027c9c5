# SPDX-License-Identifier: MIT
"""Asks ahead.c for bytes that count on, and tells how many came: ahead_peer.py ADDRESS PORT REQUESTS"""

import random
import socket
import struct
import sys
import threading

from counting import PERIOD, counting, line, listen

COUNTING = counting(1200)

done = threading.Condition()
totals = {}


def talk(s, name, requests):
    chance = random.Random(name)
    at = 0

    def take(most):
        nonlocal at
        b = s.recv(min(most, 65536))
        if b != COUNTING[at % PERIOD:at % PERIOD + len(b)]:
            raise ValueError(f"{name}: wrong bytes behind {at}")
        at += len(b)
        return len(b)

    asked = 0
    try:
        endless = name.endswith(" 1")
        way = name.split(" ")[0].rstrip("0123456789")
        count = {"fork": 3 * requests, "threads": 3 * requests, "reset": requests}.get(way, requests + 1)
        while endless or asked < count:
            wanted = chance.randint(1, chance.choice((50, 500, 9000)))
            s.sendall(struct.pack("<I", wanted))
            asked += 1
            # Of "fork" each answer has a piece more behind it, whose length only they know.
            left = wanted
            while left > 0:
                n = take(65536)
                if n == 0:
                    return
                left -= n
        if way == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if way == "shutdown":
            while take(65536):
                pass
            s.shutdown(socket.SHUT_WR)
        while take(65536):
            pass
    except ConnectionResetError:
        pass
    except ValueError as e:
        print(e, flush=True)
        at = -1
    finally:
        s.close()
        with done:
            totals[name] = at
            done.notify_all()


def serve(s, requests):
    name = line(s)
    if name is None:
        return
    if name.startswith("report "):
        name = name[len("report "):]
        with done:
            done.wait_for(lambda: name in totals, 30)
            s.sendall(str(totals.get(name, -2)).encode())
        s.close()
        return
    talk(s, name, requests)


listen(serve, int(sys.argv[3]))
