# SPDX-License-Identifier: MIT
"""A TUN interface that announces its packets by SIGIO. One line for each packet."""
import fcntl
import os
import signal
import socket
import struct
import subprocess

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000


def take_all(fd):
    while True:
        try:
            os.read(fd, 2000)
        except BlockingIOError:
            return


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"announced0", IFF_TUN | IFF_NO_PI))
fcntl.fcntl(tun, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(tun, fcntl.F_SETFL, fcntl.fcntl(tun, fcntl.F_GETFL) | os.O_ASYNC)
flags = fcntl.fcntl(tun, fcntl.F_GETFL)
print("O_ASYNC", bool(flags & os.O_ASYNC), "O_NONBLOCK", bool(flags & os.O_NONBLOCK))
subprocess.run(["ip", "addr", "add", "10.99.7.1/24", "dev", "announced0"], check=True)
subprocess.run(["ip", "link", "set", "announced0", "up"], check=True)
take_all(tun)
while signal.sigtimedwait({signal.SIGIO}, 0.3):  # of what the kernel sends by itself
    take_all(tun)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(3):
    sender.sendto(b"x", ("10.99.7.2", 9))
    print("a packet:", "SIGIO" if signal.sigtimedwait({signal.SIGIO}, 20) else "nothing", flush=True)
    take_all(tun)
