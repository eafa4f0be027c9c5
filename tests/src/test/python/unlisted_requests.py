# SPDX-License-Identifier: MIT
"""unlisted_requests.py DIRECTORY: requests of ioctl that no list of the device's has, and those about a descriptor alone."""
import errno
import fcntl
import os
import socket
import sys

FIONCLEX, FIOCLEX = 0x5450, 0x5451
OTHERS = {
    "FIGETBSZ": 2,
    "TCGETS": 0x5401,
    "TIOCGWINSZ": 0x5413,
    "KDGKBMODE": 0x4B44,
    "SIOCUNIXFILE": 0x89E0,
    "of nobody": 0x1234,
}


def said(descriptor, request):
    try:
        fcntl.ioctl(descriptor, request, bytes(64))
        return "done"
    except OSError as e:
        return errno.errorcode[e.errno]


stream = socket.socket()
datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
file = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)
for what, descriptor in (
    ("stream", stream.fileno()),
    ("datagrams", datagrams.fileno()),
    ("file", file),
    ("directory", os.open(sys.argv[1], os.O_RDONLY)),
):
    for request, flag in ((FIONCLEX, 0), (FIOCLEX, fcntl.FD_CLOEXEC)) * 20:
        assert fcntl.ioctl(descriptor, request) == 0
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) == flag
    for name, request in OTHERS.items():
        print(what, name, said(descriptor, request))
