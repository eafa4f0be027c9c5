// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FuseWire.SMALL;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Sched;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;

/**
 * Makes a thread the caller of a request for as long as it makes a file. If this process is not the
 * superuser's there is only the umask to take over.
 */
final class FuseCaller {
  // linux/capability.h
  private static final int CAPABILITY_VERSION_3 = 0x20080522;
  private static final int CAP_DAC_OVERRIDE = 1;
  private static final int CAP_DAC_READ_SEARCH = 2;

  private final boolean superuser = Linux.syscall(SyscallNumbers.GETEUID, 0) == 0;

  /**
   * Makes the calling thread's umask and credentials its own: they are set for each file that is
   * made.
   */
  static void enter() {
    long r = Linux.syscall(SyscallNumbers.UNSHARE, Sched.CLONE_FS);
    if (r < 0) {
      throw new IllegalStateException("unshare: " + Errno.name((int) -r));
    }
  }

  /**
   * Makes this thread the caller of the request, for one call that makes a file: its owner, its
   * group and its mode are then as the host's kernel would have them. Directories stay open to it,
   * since the caller's permission was checked, with groups that this side does not know.
   */
  void become(MemorySegment s, int umask) {
    Linux.syscall(SyscallNumbers.UMASK, umask & 0777);
    if (!superuser) {
      return;
    }
    int uid = s.get(JAVA_INT, Fuse.IN_UID);
    int gid = s.get(JAVA_INT, Fuse.IN_GID);
    Linux.syscall(SyscallNumbers.SETFSGID, Integer.toUnsignedLong(gid));
    if (uid != 0) {
      Linux.syscall(SyscallNumbers.SETFSUID, Integer.toUnsignedLong(uid));
      s.set(JAVA_INT, SMALL, CAPABILITY_VERSION_3);
      s.set(JAVA_INT, SMALL + 4, 0);
      Linux.syscall(SyscallNumbers.CAPGET, s.address() + SMALL, s.address() + SMALL + 8, 0);
      int permitted = s.get(JAVA_INT, SMALL + 12);
      int wanted = permitted & (1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH);
      s.set(JAVA_INT, SMALL + 8, s.get(JAVA_INT, SMALL + 8) | wanted);
      Linux.syscall(SyscallNumbers.CAPSET, s.address() + SMALL, s.address() + SMALL + 8, 0);
    }
  }

  /** Ends what {@link #become} began. */
  void unbecome(MemorySegment s) {
    if (superuser) {
      if (s.get(JAVA_INT, Fuse.IN_UID) != 0) {
        // The capabilities of the superuser's file system calls come back with it.
        Linux.syscall(SyscallNumbers.SETFSUID, 0);
      }
      Linux.syscall(SyscallNumbers.SETFSGID, 0);
    }
  }
}
