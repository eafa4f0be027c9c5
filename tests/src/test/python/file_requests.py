# SPDX-License-Identifier: MIT
"""file_requests FILE HOST: requests of ioctl on FILE, which has pages 1, 3, 5, 7 and 9; HOST is the host's."""
import array, ctypes, errno, fcntl, os, socket, struct, sys

FIGETBSZ, FIEMAP = 2, 0xC020660B
FICLONE, FICLONERANGE, FIDEDUPERANGE = 0x40049409, 0x4020940D, 0xC0189436
RESVSP64 = 0x4030582A
PAGE, LAST = 4096, 1


def caught(call):
    try:
        return call()
    except OSError as e:
        return errno.errorcode[e.errno]


def extents(fd, start, room, flags=0, says=None):
    """(page of each extent, whether the last one says that it is the last, how many there are)"""
    b = array.array("B", struct.pack("=QQIIII", start, 1 << 40, flags, 0, says or room, 0) + bytes(56 * room))
    fcntl.ioctl(fd, FIEMAP, b, True)
    count = struct.unpack_from("=I", b, 20)[0]
    found = [struct.unpack_from("=QQQ16xI", b, 32 + 56 * i) for i in range(min(room, count))]
    return [f[0] // PAGE for f in found], bool(found and found[-1][3] & LAST), count


f = os.open(sys.argv[1], os.O_RDWR)
host = os.open(sys.argv[2], os.O_RDWR)
block = array.array("i", [0])
fcntl.ioctl(f, FIGETBSZ, block, True)
print("block size", block[0])
pages, last, _ = extents(f, 0, 100)
print("extents", pages if last else "not all")
pages, last, _ = extents(f, 4 * PAGE, 1)
print("the last", pages, "is marked" if last else "is not marked")
print("only counted", extents(f, 0, 0)[2])
print("flags that it does not know", caught(lambda: extents(f, 0, 1, 0x4000)))
print("too many", caught(lambda: extents(f, 0, 1, 0, 0x7FFFFFFF)))
print("clone of a host's file", caught(lambda: fcntl.ioctl(f, FICLONE, host)))
print("clone of itself", caught(lambda: fcntl.ioctl(f, FICLONE, f)))
print("clone of nothing", caught(lambda: fcntl.ioctl(f, FICLONE, 99)))
part = lambda fd: struct.pack("=qQQQ", fd, 0, PAGE, 0)
print("range of a host's file", caught(lambda: fcntl.ioctl(f, FICLONERANGE, part(host))))
print("range of itself", caught(lambda: fcntl.ioctl(f, FICLONERANGE, part(f))))
libc = ctypes.CDLL(None, use_errno=True)
print("range from bad memory",
      errno.errorcode[ctypes.get_errno()] if libc.ioctl(f, FICLONERANGE, ctypes.c_void_p(16)) else "allowed")
print("clone onto a host's file", caught(lambda: fcntl.ioctl(host, FICLONE, f)))
print("deduplication", caught(lambda: fcntl.ioctl(f, FIDEDUPERANGE, bytes(56))))
with socket.socket(socket.AF_INET) as s:
    print("on a socket", caught(lambda: fcntl.ioctl(s, FICLONE + 0x100, 0)))
fcntl.ioctl(f, RESVSP64, struct.pack("=hh4xqqiI16x", 0, 0, 10 * PAGE, 10 * PAGE, 0, 0))
print("reserved", os.stat(f).st_blocks * 512 - 5 * PAGE - 5 * PAGE)
