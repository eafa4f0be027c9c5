// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.channel.DeviceLink;
import dev.outboard.kernel.LinuxKernel;
import dev.outboard.syscalls.PseudoCall;
import java.util.Arrays;

/**
 * Measures the round trip of a call through a slot, host and device in one JVM: {@code main} prints
 * medians and tails of the null call and of a real one, on both kernels. Not a test.
 */
final class RoundTrips {
  private static final int WARM_UP = 50_000;
  private static final int CALLS = 100_000;

  private RoundTrips() {}

  public static void main(String[] arguments) throws Exception {
    Limits limits = new Limits(1, 16, 16, 256);
    try (Kernel host = new HostKernelBackend()) {
      measure(host, limits);
    }
    LibraryKernelBackend.Division division = LibraryKernelBackend.Division.of(limits);
    try (Kernel library =
        new LibraryKernelBackend(
            LinuxKernel.boot(
                LinuxKernel.Options.defaults().withMemory(64L << 20, division.userBytes())),
            division)) {
      measure(library, limits);
    }
  }

  private static void measure(Kernel kernel, Limits limits) throws Exception {
    try (TestDevice device = new TestDevice(kernel, limits);
        DeviceLink link = device.link(new TestDevice.Ear(), 16);
        TestProgram p = new TestProgram(link)) {
      print(kernel.kind() + " ping", p, PseudoCall.PING, 0);
      int fd = p.socket(2);
      print(kernel.kind() + " fcntl(F_GETFL)", p, Canonical.FCNTL, fd);
      p.watch(fd);
      print(kernel.kind() + " the same, watched", p, Canonical.FCNTL, fd);
    }
  }

  private static void print(String what, TestProgram p, int number, int fd) {
    long[] nanos = new long[CALLS];
    for (int i = -WARM_UP; i < CALLS; i++) {
      long start = System.nanoTime();
      p.call(number, fd, 3);
      if (i >= 0) {
        nanos[i] = System.nanoTime() - start;
      }
    }
    Arrays.sort(nanos);
    System.out.printf(
        "%-28s p50 %6d ns  p99 %7d ns  p99.9 %8d ns%n",
        what, nanos[CALLS / 2], nanos[CALLS * 99 / 100], nanos[CALLS * 999 / 1000]);
  }
}
