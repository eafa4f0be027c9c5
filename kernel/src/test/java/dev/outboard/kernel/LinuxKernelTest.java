// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;

/** Boot, tasks, calls and halt. */
class LinuxKernelTest {
  private static LinuxKernel.Options options() throws KernelException {
    return LinuxKernel.Options.defaults().withMemory(64 << 20, 16 << 20);
  }

  @Test
  void bootsAndMakesCalls() throws Exception {
    List<String> log = new CopyOnWriteArrayList<>();
    try (LinuxKernel kernel = LinuxKernel.boot(options().withConsole(log::add))) {
      assertThat(kernel.release()).startsWith("6.12.").endsWith("-outboard");
      assertThat(kernel.ram().byteSize()).isEqualTo(64 << 20);
      assertThat(kernel.userRegion().address())
          .isEqualTo(kernel.ram().address() + kernel.ram().byteSize());
      assertThat(kernel.syscall(Nr.GETPPID, 0, 0, 0, 0, 0, 0)).isEqualTo(-Errno.ESRCH);
      try (Guest g = new Guest(kernel, 0, 0)) {
        assertThat(g.ok(Nr.GETPPID)).isEqualTo(1);
        assertThat(g.ok(Nr.GETTID)).isEqualTo(g.tid);
        MemorySegment name = g.allocate(6 * 65);
        g.ok(Nr.UNAME, name.address());
        assertThat(name.getString(130)).isEqualTo(kernel.release());
        assertThat(kernel.enterTask(0, true)).isEqualTo(-Errno.EBUSY);
      }
      assertThat(kernel.tasks()).isZero();
    }
    assertThat(log).anyMatch(line -> line.contains("Linux version 6.12"));
  }

  @Test
  void twoKernelsAtOnce() throws Exception {
    try (LinuxKernel one = LinuxKernel.boot(options());
        LinuxKernel two = LinuxKernel.boot(options())) {
      assertThat(one.ram().address()).isNotEqualTo(two.ram().address());
      try (Guest g = new Guest(one, 0, 0);
          Guest h = new Guest(two, 0, 0)) {
        assertThat(g.ok(Nr.EVENTFD2, 0, 0)).isZero();
        assertThat(h.ok(Nr.EVENTFD2, 0, 0)).isZero();
        assertThat(h.ok(Nr.EVENTFD2, 0, 0)).isEqualTo(1);
      }
    }
  }

  @Test
  void refusesWhatCannotBoot() throws Exception {
    assertThatThrownBy(() -> LinuxKernel.boot(options().withMemory(5 << 20, 16 << 20)))
        .isInstanceOf(KernelException.class)
        .hasMessageContaining("EINVAL");
    assertThatThrownBy(() ->
            LinuxKernel.boot(
                new LinuxKernel.Options(
                    Path.of("/does/not/exist.so"), 64 << 20, 16 << 20, "", ConsoleSink.NONE)))
        .isInstanceOf(KernelException.class);
  }

  @Test
  void pointersOutsideOfTheUserRegionFault() throws Exception {
    try (LinuxKernel kernel = LinuxKernel.boot(options());
        Guest g = new Guest(kernel, 0, 0);
        Arena arena = Arena.ofConfined()) {
      long elsewhere = arena.allocate(4096).address();
      long end = kernel.userRegion().address() + kernel.userRegion().byteSize();
      int fd = (int) g.ok(Nr.EVENTFD2, 1, 0);
      for (long bad :
          new long[] {0, 1, elsewhere, kernel.ram().address(), end, end - 4, -1, -4096}) {
        assertThat(g.call(Nr.READ, fd, bad, 8)).as("read to %x", bad).isEqualTo(-Errno.EFAULT);
        assertThat(g.call(Nr.UNAME, bad)).as("uname to %x", bad).isEqualTo(-Errno.EFAULT);
        assertThat(g.call(Nr.OPENAT, -100, bad, 0))
            .as("open of %x", bad)
            .isIn((long) -Errno.EFAULT, (long) -Errno.ENOENT);
      }
      // a string that ends with the region, without a NUL
      kernel.userRegion().asSlice(kernel.userRegion().byteSize() - 4, 4).fill((byte) 'x');
      assertThat(g.call(Nr.OPENAT, -100, end - 4, 0)).isEqualTo(-Errno.EFAULT);
      assertThat(g.call(Nr.READ, fd, g.allocate(8).address(), 8)).isEqualTo(8);
      assertThat(nullPointers()).isEqualTo(200_000);
    }
  }

  /** The JVM finds null pointers by faults; it must still be the one that handles them. */
  @SuppressWarnings("NullAway")
  private static int nullPointers() {
    int caught = 0;
    for (int i = 0; i < 200_000; i++) {
      try {
        String s = i < 0 ? "" : null;
        caught -= s.length();
      } catch (NullPointerException e) {
        caught++;
      }
    }
    return caught;
  }

  @Test
  void socketsOverLoopback() throws Exception {
    try (LinuxKernel kernel = LinuxKernel.boot(options());
        Guest g = new Guest(kernel, 0, 0)) {
      Net.loopbackUp(g);
      int server = Net.listen(g, 80);
      int client = Net.connect(g, 80);
      int accepted = (int) g.ok(Nr.ACCEPT, server, 0, 0);
      MemorySegment b = g.allocate(4096);
      b.set(ValueLayout.JAVA_LONG, 0, 0x1122334455667788L);
      assertThat(g.ok(Nr.WRITE, client, b.address(), 8)).isEqualTo(8);
      b.fill((byte) 0);
      assertThat(g.ok(Nr.READ, accepted, b.address(), 4096)).isEqualTo(8);
      assertThat(b.get(ValueLayout.JAVA_LONG, 0)).isEqualTo(0x1122334455667788L);
    }
  }
}
