// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import dev.outboard.abi.Errno;
import dev.outboard.device.LibraryGuest;
import dev.outboard.kernel.KernelException;
import dev.outboard.kernel.LinuxKernel;
import dev.outboard.virtio.GuestKernel;
import java.lang.foreign.MemorySegment;

/** A library kernel whose first task is the thread that boots it. */
final class LibraryKernel implements GuestCalls, AutoCloseable {
  static final int LINE = LinuxKernel.FIRST_LINE + 3;

  private final LinuxKernel kernel;
  private final GuestKernel guest;
  private final int first;
  private long used;

  LibraryKernel() throws KernelException {
    kernel = LinuxKernel.boot(LinuxKernel.Options.defaults());
    guest = new LibraryGuest(kernel);
    first = entered(kernel.enterTask(0, true));
  }

  private static int entered(int tid) {
    if (tid <= 0) {
      throw new AssertionError("enterTask: " + Errno.name(-tid));
    }
    return tid;
  }

  @Override
  public long call(int number, long a0, long a1, long a2, long a3, long a4, long a5) {
    return kernel.syscall(number, a0, a1, a2, a3, a4, a5);
  }

  @Override
  public synchronized MemorySegment allocate(long bytes) {
    MemorySegment piece = kernel.userRegion().asSlice(used, bytes);
    used = (used + bytes + 63) & ~63L;
    return piece;
  }

  @Override
  public Thread task(String name, Runnable body) {
    return Thread.ofPlatform()
        .name(name)
        .start(() -> {
          entered(kernel.enterTask(first, false));
          try {
            body.run();
          } finally {
            kernel.leaveTask();
          }
        });
  }

  /** The kernel as a virtual device sees it. */
  GuestKernel guest() {
    return guest;
  }

  @Override
  public void close() {
    kernel.leaveTask();
    kernel.close();
  }
}
