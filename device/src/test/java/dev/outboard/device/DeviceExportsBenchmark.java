// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Fcntl;
import dev.outboard.device.DeviceExportsTest.Task;
import dev.outboard.virtio.ExportSpec;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/**
 * How fast files of an export are: {@code -Dtests.benchmark=true}. Cached ones are compared with a
 * file of the kernel's own memory, which is as fast as it gets.
 */
@EnabledIfSystemProperty(named = "tests.benchmark", matches = "true")
class DeviceExportsBenchmark {
  private static final int ROUNDS = 5;
  private static final long COLD_BYTES = 512L << 20;
  private static final int WARM_BYTES = 1 << 20;
  private static final int WARM_TIMES = 1000;
  private static final int MSG_TRUNC = 0x20;
  private static final int GETTID = 178;

  @TempDir Path machine;

  @Test
  void speeds() throws Exception {
    byte[] piece = new byte[1 << 20];
    new Random(1).nextBytes(piece);
    try (var out = Files.newOutputStream(machine.resolve("cold"))) {
      for (long n = 0; n < COLD_BYTES; n += piece.length) {
        out.write(piece);
      }
    }
    Files.write(machine.resolve("warm"), piece);
    DeviceExportsTest.with(
        List.of(ExportSpec.directory(machine + ":/x")),
        t -> {
          t.write("/tmp/warm", piece);
          int[] pair = DeviceExportsTest.tcpPair(t);
          Thread drain = drain(t, pair[1]);
          for (int round = 0; round < ROUNDS; round++) {
            cold(t);
            warm(t, "/tmp/warm", pair[0]);
            warm(t, "/x/warm", pair[0]);
            opens(t);
          }
          t.close(pair[0]);
          drain.join();
        });
  }

  private static void say(String what, double bytes, long begin) {
    double seconds = (System.nanoTime() - begin) / 1e9;
    System.out.printf(Locale.ROOT, "%-28s %6.2f GB/s%n", what, bytes / seconds / 1e9);
  }

  private static void cold(Task t) {
    int drop = t.opened("/proc/sys/vm/drop_caches", Fcntl.O_WRONLY);
    t.put(new byte[] {'3'});
    t.good(Canonical.WRITE, drop, t.data(), 1);
    t.close(drop);
    long before = t.device.exportRequests();
    int fd = t.opened("/x/cold", Fcntl.O_RDONLY);
    long begin = System.nanoTime();
    long sum = 0;
    long n;
    while ((n = t.good(Canonical.READ, fd, t.data(), 1 << 20)) > 0) {
      sum += n;
    }
    say("cold read", (double) sum, begin);
    System.out.println("  requests: " + (t.device.exportRequests() - before));
    assertThat(sum).isEqualTo(COLD_BYTES);
    t.close(fd);
  }

  private static Thread drain(Task t, int socket) {
    int tid = (int) t.good(GETTID);
    return Thread.ofPlatform()
        .start(() -> {
          assertThat(t.kernel.enterTask(tid, false)).isPositive();
          while (t.call(Canonical.RECVFROM, socket, t.data(), 1 << 20, MSG_TRUNC, 0, 0) > 0) {
            // gone
          }
          t.kernel.leaveTask();
        });
  }

  private static void warm(Task t, String path, int socket) {
    int fd = t.opened(path, Fcntl.O_RDONLY);
    long offset = t.memory.address() + DeviceExportsTest.SMALL;
    long begin = System.nanoTime();
    for (int i = 0; i < WARM_TIMES; i++) {
      t.memory.set(ValueLayout.JAVA_LONG, DeviceExportsTest.SMALL, 0);
      long left = WARM_BYTES;
      while (left > 0) {
        left -= t.good(DeviceExportsTest.SENDFILE, socket, fd, offset, left);
      }
    }
    say("sendfile " + path, (double) WARM_BYTES * WARM_TIMES, begin);
    t.close(fd);
  }

  private static void opens(Task t) {
    long begin = System.nanoTime();
    int times = 2000;
    for (int i = 0; i < times; i++) {
      t.close(t.opened("/x/warm", Fcntl.O_RDONLY));
    }
    System.out.printf(
        Locale.ROOT, "%-28s %6.1f us%n", "open, close", (System.nanoTime() - begin) / 1e3 / times);
  }
}
