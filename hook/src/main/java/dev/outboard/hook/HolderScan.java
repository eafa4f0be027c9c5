// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Finds a process that holds a placeholder by looking at every descriptor of the tree. */
final class HolderScan implements Readiness.HolderSearch {
  private final ProcessTable processes;

  HolderScan(ProcessTable processes) {
    this.processes = processes;
  }

  @Override
  public boolean find(Placeholder p) {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
      for (ProcessEntry process : processes.processes()) {
        if (process.mayHoldDevice() && find(process, p, a, stat)) {
          return true;
        }
      }
      return false;
    }
  }

  private static boolean find(ProcessEntry process, Placeholder p, Arena a, MemorySegment stat) {
    String @Nullable [] fds = new File("/proc/" + process.pid() + "/fd").list();
    if (fds == null) {
      return false;
    }
    for (String fd : fds) {
      MemorySegment path = Linux.cString(a, "fd/" + fd);
      if (Processes.fstatat(process.directory(), path.address(), stat.address(), 0) == 0
          && stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_INO) == p.inode()) {
        p.heldBy(process.pidfd(), Integer.parseInt(fd));
        if (p.isLent()) {
          return true;
        }
      }
    }
    return false;
  }
}
