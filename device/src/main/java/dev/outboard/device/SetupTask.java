// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import java.lang.foreign.MemorySegment;

/** Runs what configures a kernel: as a task of the calling thread, with memory for its calls. */
final class SetupTask {
  /** What is to be done; may fail with a sentence. */
  interface Work {
    void run(MemorySegment scratch) throws DeviceException;
  }

  private SetupTask() {}

  /**
   * Runs it on the calling thread, which must have no task.
   *
   * @throws DeviceException if the kernel gives no task, or if {@code work} does
   */
  static void run(Kernel kernel, Work work) throws DeviceException {
    MemorySegment scratch = kernel.allocate();
    if (scratch == null) {
      throw new DeviceException("The device's kernel has no memory to be configured with.");
    }
    try {
      int tid = kernel.enterTask(0, true);
      if (tid < 0) {
        throw new DeviceException("The device's kernel gives no task: " + Errno.name(-tid) + ".");
      }
      try {
        work.run(scratch);
      } finally {
        kernel.leaveTask();
      }
    } finally {
      kernel.free(scratch);
    }
  }
}
