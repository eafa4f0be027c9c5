# SPDX-License-Identifier: MIT
"""What calls on a device far away take, of one thread and of many at once.

crossings.py threads FILE COUNT ROUNDS"""
import os
import sys
import threading
import time


def threads(path, count, rounds):
    """Prints the microseconds of one read alone and of COUNT reads of as many threads, the least of
    all rounds each."""
    file = os.open(path, os.O_RDONLY)
    barrier = threading.Barrier(count + 1)
    wrong = []

    def reader(index):
        for _ in range(rounds + 1):  # the first gives the thread what it needs on the device
            barrier.wait()
            if os.pread(file, 8, 8 * index) != b"%07d\n" % index:
                wrong.append(index)
            barrier.wait()

    for i in range(count):
        threading.Thread(target=reader, args=(i,), daemon=True).start()
    alone = []
    together = []
    for n in range(rounds + 1):
        start = time.monotonic()
        os.pread(file, 8, 0)
        between = time.monotonic()
        barrier.wait()
        begin = time.monotonic()
        barrier.wait()
        if n > 0:
            alone.append(between - start)
            together.append(time.monotonic() - begin)
    print("alone", round(min(alone) * 1e6), flush=True)
    print("together", round(min(together) * 1e6), flush=True)
    print("wrong", len(wrong), flush=True)


threads(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
