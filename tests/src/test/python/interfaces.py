# SPDX-License-Identifier: MIT
"""Asks about interfaces by every kind of socket: all must know the same network.

libc's if_nametoindex makes its request on an AF_UNIX socket, if_nameindex asks by netlink.
"""
import errno
import fcntl
import socket
import struct

SIOCGIFNAME = 0x8910
SIOCGIFCONF = 0x8912
SIOCGIFFLAGS = 0x8913
SIOCGIFADDR = 0x8915
SIOCGIFMTU = 0x8921
SIOCGIFINDEX = 0x8933

FAMILIES = [socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK]


def ask(family, request, name, number=0):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        try:
            return fcntl.ioctl(s, request, struct.pack("16si20x", name.encode(), number))
        except OSError as e:
            return errno.errorcode[e.errno]


def number(answer):
    return answer if isinstance(answer, str) else struct.unpack_from("i", answer, 16)[0]


names = dict((name, index) for index, name in socket.if_nameindex())
print("lo and eth0:", "lo" in names, "eth0" in names)
print("indices:", all(socket.if_nametoindex(name) == names[name] for name in names))
print("names:", all(socket.if_indextoname(names[name]) == name for name in names))
for family in FAMILIES:
    print(family.name)
    print("  index", all(number(ask(family, SIOCGIFINDEX, name)) == names[name] for name in names))
    print("  name", ask(family, SIOCGIFNAME, "", names["eth0"])[:5])
    print("  up", number(ask(family, SIOCGIFFLAGS, "eth0")) & 1)
    print("  mtu", number(ask(family, SIOCGIFMTU, "eth0")))
    print("  address", ask(family, SIOCGIFADDR, "lo"))
    print("  nobody", ask(family, SIOCGIFINDEX, "nobody"), ask(family, SIOCGIFMTU, "nobody"))
try:
    socket.if_nametoindex("nobody")
except OSError as e:
    print("nobody:", errno.errorcode.get(e.errno))
