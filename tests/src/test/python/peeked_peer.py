# SPDX-License-Identifier: MIT
"""Sends peeked.c bytes that count on, and tells how many connections ended well: peeked_peer.py ADDRESS PORT BYTES"""

import random
import socket
import struct
import threading
import time

from counting import PERIOD, counting, line, listen

COUNTING = counting(40)

done = threading.Condition()
ends = {}


def exactly(s, n):
    got = b""
    while len(got) < n:
        b = s.recv(n - len(got))
        if not b:
            raise EOFError
        got += b
    return got


def talk(s, name, total):
    chance = random.Random(name)
    sent = seen = 0
    end = "?"
    try:
        while sent < total:
            n = min(total - sent, chance.randint(1, chance.choice((20, 300, 900, 6000))))
            at = sent % PERIOD
            s.sendall(COUNTING[at:at + n])
            sent += n
            if chance.random() < 0.25 and sent < total:
                continue
            if chance.random() < 0.05:
                time.sleep(chance.random() / 500)
            # Who takes a short receive for all that there is, and is not told of more, stops here.
            while seen < sent:
                (seen,) = struct.unpack("<I", exactly(s, 4))
        if total % 2 == 0:
            s.shutdown(socket.SHUT_WR)
        end = "end" if s.recv(1) == b"" else "more"
    except (OSError, EOFError) as e:
        end = f"{type(e).__name__} behind {sent}, {seen} seen"
    finally:
        s.close()
        with done:
            ends[name] = end
            done.notify_all()


def serve(s):
    name = line(s)
    if name is None:
        return
    words = name.split(" ")
    if words[0] == "report":
        names = [words[1] + str(i) for i in range(int(words[2]))]
        with done:
            done.wait_for(lambda: all(n in ends for n in names), 30)
            for n in names:
                if ends.get(n) != "end":
                    print(n, ends.get(n), flush=True)
            s.sendall(str(sum(ends.get(n) == "end" for n in names)).encode())
        s.close()
        return
    talk(s, words[0], int(words[1]))


listen(serve)
