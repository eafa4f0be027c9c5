// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.channel.Credentials;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * Gives a shadow task the credentials of its program thread, by the task's own system calls.
 *
 * <p>The task keeps all capabilities that it was born with <i>permitted</i> (the keep-capabilities
 * flag makes them outlive a change of user), so that it can always take on others; what the kernel
 * checks in a call are the <i>effective</i> ones, and these are the program's. The order: raise,
 * groups, group ids, user ids, raise again (a change of the effective user id clears the effective
 * set), the ids for files, and only then the program's own effective set.
 *
 * <p>Belongs to one shadow thread, as do its calls.
 */
final class Identity {
  /** Scratch memory that {@link #apply} needs: the group list is the most of it. */
  static final long SCRATCH_BYTES = 8192;

  private static final int CAPABILITY_VERSION_3 = 0x2008_0522;
  private static final int HEADER = 0;
  private static final int DATA = 16;
  private static final int GROUPS = 64;
  private static final int MAX_GROUPS = (int) ((SCRATCH_BYTES - GROUPS) / 4);

  private final Kernel kernel;
  private final MemorySegment scratch;
  private @Nullable Credentials applied;
  private boolean born;
  private long all;

  Identity(Kernel kernel, MemorySegment scratch) {
    this.kernel = kernel;
    this.scratch = scratch;
  }

  /**
   * Makes the calling thread's task act with these credentials.
   *
   * @return 0 or {@code -errno}; on an error the task may have some of them
   */
  long apply(Credentials c) {
    if (!kernel.privileged() || c.equals(applied)) {
      return 0;
    }
    if (c.groups().size() > MAX_GROUPS) {
      return -Errno.EINVAL;
    }
    applied = null;
    if (!born) {
      long r = birth();
      if (r < 0) {
        return r;
      }
      born = true;
    }
    long r = capabilities(all);
    if (r >= 0) {
      for (int i = 0; i < c.groups().size(); i++) {
        scratch.set(ValueLayout.JAVA_INT, GROUPS + 4L * i, c.groups().get(i));
      }
      r = call(Canonical.SETGROUPS, c.groups().size(), scratch.address() + GROUPS, 0);
    }
    if (r >= 0) {
      r = call(Canonical.SETRESGID, c.gid(), c.egid(), c.sgid());
    }
    if (r >= 0) {
      r = call(Canonical.SETRESUID, c.uid(), c.euid(), c.suid());
    }
    if (r >= 0) {
      r = capabilities(all);
    }
    if (r >= 0) {
      // Both return the former id, never an error.
      call(Canonical.SETFSGID, c.fsgid(), 0, 0);
      call(Canonical.SETFSUID, c.fsuid(), 0, 0);
      r = capabilities(all & c.effective());
    }
    if (r >= 0) {
      applied = c;
      return 0;
    }
    return r;
  }

  private long birth() {
    long r = call(Canonical.PRCTL, Canonical.PR_SET_KEEPCAPS, 1, 0);
    if (r < 0) {
      return r;
    }
    header();
    r = call(Canonical.CAPGET, scratch.address() + HEADER, scratch.address() + DATA, 0);
    all =
        Integer.toUnsignedLong(scratch.get(ValueLayout.JAVA_INT, DATA + 4))
            | Integer.toUnsignedLong(scratch.get(ValueLayout.JAVA_INT, DATA + 16)) << 32;
    return r;
  }

  /** {@code capset(2)}: the effective set as given, everything permitted, nothing inheritable. */
  private long capabilities(long effective) {
    header();
    for (int half = 0; half < 2; half++) {
      int shift = 32 * half;
      scratch.set(ValueLayout.JAVA_INT, DATA + 12L * half, (int) (effective >>> shift));
      scratch.set(ValueLayout.JAVA_INT, DATA + 12L * half + 4, (int) (all >>> shift));
      scratch.set(ValueLayout.JAVA_INT, DATA + 12L * half + 8, 0);
    }
    return call(Canonical.CAPSET, scratch.address() + HEADER, scratch.address() + DATA, 0);
  }

  private void header() {
    scratch.set(ValueLayout.JAVA_INT, HEADER, CAPABILITY_VERSION_3);
    scratch.set(ValueLayout.JAVA_INT, HEADER + 4, 0);
  }

  private long call(int number, long a0, long a1, long a2) {
    return kernel.syscall(number, a0, a1, a2, 0, 0, 0);
  }
}
