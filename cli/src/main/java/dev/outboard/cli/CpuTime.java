// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Seconds of CPU that a process has used.
 *
 * @param process what it is
 * @param pid its number
 * @param user in its own code
 * @param system in the host's kernel
 */
record CpuTime(String process, int pid, double user, double system) {
  /** USER_HZ, of which x86-64 has 100 however the kernel was built (proc_pid_stat(5)). */
  private static final double TICKS_PER_SECOND = 100;

  private static final int USER_TICKS = 11;
  private static final int SYSTEM_TICKS = 12;

  static CpuTime ofThisProcess() {
    return of("hook", (int) ProcessHandle.current().pid());
  }

  /** What a process has used until now; nothing if it has ended. */
  static CpuTime of(String process, int pid) {
    try {
      String stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
      // The name, in parentheses, may hold anything; the fields after it are counted from 3.
      String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
      return new CpuTime(
          process,
          pid,
          Long.parseLong(fields[USER_TICKS]) / TICKS_PER_SECOND,
          Long.parseLong(fields[SYSTEM_TICKS]) / TICKS_PER_SECOND);
    } catch (IOException e) {
      return new CpuTime(process, pid, 0, 0);
    }
  }

  CpuTime since(CpuTime before) {
    return new CpuTime(process, pid, user - before.user, system - before.system);
  }
}
