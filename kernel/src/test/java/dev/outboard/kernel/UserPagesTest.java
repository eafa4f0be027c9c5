// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Paths of the kernel that take references on pages of its callers, in both kinds of memory. */
@Timeout(60)
class UserPagesTest {
  private static final int SOL_SOCKET = 1;
  private static final int SOL_TCP = 6;
  private static final int SOL_TLS = 282;
  private static final int TLS_TX = 1;
  private static final int TLS_RX = 2;
  private static final int TLS_RX_EXPECT_NO_PAD = 4;
  private static final int MSG_ZEROCOPY = 0x4000000;
  private static final int MSG_ERRQUEUE = 0x2000;
  private static final int F_ADD_SEALS = 1033;
  private static final int F_SEAL_SHRINK = 2;
  private static final long WINDOW = 8 << 20;
  private static final long WINDOW_BYTES = 1 << 20;

  private static LinuxKernel kernel;
  private static long memfdAddress;
  private Guest g;
  private int client;
  private int server;

  @BeforeAll
  static void boot() throws KernelException {
    kernel = LinuxKernel.boot(LinuxKernel.Options.defaults().withMemory(128 << 20, 16 << 20));
    int fd = memfd(WINDOW_BYTES);
    assertThat(Linux.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)).isZero();
    assertThat(kernel.mapWindow(WINDOW, WINDOW_BYTES, fd)).isZero();
    memfdAddress = Linux.mmap(0, WINDOW_BYTES, 3, 1, fd, 0);
    Linux.close(fd);
  }

  @AfterAll
  static void halt() {
    Linux.munmap(memfdAddress, WINDOW_BYTES);
    kernel.close();
  }

  private static int memfd(long bytes) {
    try (Arena a = Arena.ofConfined()) {
      int fd = (int) Linux.memfdCreate(Linux.cString(a, "window").address(), 2 | 1);
      assertThat(fd).isPositive();
      assertThat(Linux.syscall(dev.outboard.abi.SyscallNumbers.FTRUNCATE, fd, bytes, 0)).isZero();
      return fd;
    }
  }

  @BeforeEach
  void enter() {
    g = new Guest(kernel, 0, 0);
    Net.loopbackUp(g);
    int listener = Net.listen(g, 5000);
    client = Net.connect(g, 5000);
    server = (int) g.ok(Nr.ACCEPT, listener, 0, 0);
    g.ok(Nr.CLOSE, listener);
  }

  @AfterEach
  void leave() {
    g.close();
  }

  /** {from, to} in private memory or in the window, which another process could have too. */
  private MemorySegment[] buffers(String where, int bytes) {
    if (where.equals("private")) {
      return new MemorySegment[] {
        kernel.userRegion().asSlice(2 << 20, bytes), kernel.userRegion().asSlice(4 << 20, bytes)
      };
    }
    return new MemorySegment[] {
      kernel.userRegion().asSlice(WINDOW, bytes),
      kernel.userRegion().asSlice(WINDOW + WINDOW_BYTES / 2, bytes)
    };
  }

  private static void randomize(MemorySegment s) {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    byte[] b = new byte[(int) s.byteSize()];
    new Random(seed).nextBytes(b);
    s.copyFrom(MemorySegment.ofArray(b));
  }

  @Test
  void windowsAreSharedMemory() {
    MemorySegment window = kernel.userRegion().asSlice(WINDOW, WINDOW_BYTES);
    Linux.at(memfdAddress, WINDOW_BYTES).set(ValueLayout.JAVA_LONG, 64, 0x55);
    assertThat(window.get(ValueLayout.JAVA_LONG, 64)).isEqualTo(0x55);
    int event = (int) g.ok(Nr.EVENTFD2, 9, 0);
    g.ok(Nr.READ, event, window.address() + 128, 8);
    assertThat(Linux.at(memfdAddress, WINDOW_BYTES).get(ValueLayout.JAVA_LONG, 128)).isEqualTo(9);
  }

  @Test
  void windowsThatCouldShrinkAreRefused() {
    int fd = memfd(1 << 20);
    assertThat(kernel.mapWindow(10 << 20, 1 << 20, fd)).isEqualTo(-Errno.EPERM);
    assertThat(Linux.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)).isZero();
    assertThat(kernel.mapWindow(10 << 20, 2 << 20, fd)).as("too long").isEqualTo(-Errno.EINVAL);
    assertThat(kernel.mapWindow(1, 1 << 20, fd)).isEqualTo(-Errno.EINVAL);
    assertThat(kernel.mapWindow(16 << 20, 4096, fd)).isEqualTo(-Errno.EINVAL);
    assertThat(kernel.mapWindow(-4096, 4096, fd)).isEqualTo(-Errno.EINVAL);
    assertThat(kernel.mapWindow(10 << 20, 1 << 20, fd)).isZero();
    MemorySegment window = kernel.userRegion().asSlice(10 << 20, 1 << 20);
    window.set(ValueLayout.JAVA_LONG, 0, 1);
    assertThat(kernel.unmapWindow(10 << 20, 1 << 20)).isZero();
    assertThat(window.get(ValueLayout.JAVA_LONG, 0)).isZero();
    Linux.close(fd);
  }

  @Test
  void procMemShowsNothingOfOtherTasks() {
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string("/proc/self/mem").address(), 2);
    MemorySegment secret = kernel.userRegion().asSlice(6 << 20, 8);
    secret.set(ValueLayout.JAVA_LONG, 0, 42);
    MemorySegment b = g.allocate(8);
    b.set(ValueLayout.JAVA_LONG, 0, 7);
    for (long at : new long[] {secret.address(), kernel.ram().address()}) {
      assertThat(g.ok(Nr.LSEEK, fd, at, 0)).isEqualTo(at);
      assertThat(g.call(Nr.READ, fd, b.address(), 8)).isEqualTo(-Errno.EIO);
      assertThat(g.call(Nr.WRITE, fd, b.address(), 8)).isEqualTo(-Errno.EIO);
    }
    assertThat(secret.get(ValueLayout.JAVA_LONG, 0)).isEqualTo(42);
  }

  private void tls(int version, int cipher, int bytes) {
    g.ok(Nr.SETSOCKOPT, client, SOL_TCP, 31, g.string("tls").address(), 4);
    g.ok(Nr.SETSOCKOPT, server, SOL_TCP, 31, g.string("tls").address(), 4);
    MemorySegment info = g.allocate(bytes);
    info.set(ValueLayout.JAVA_SHORT, 0, (short) version);
    info.set(ValueLayout.JAVA_SHORT, 2, (short) cipher);
    for (int i = 4; i < bytes - 8; i++) {
      info.set(ValueLayout.JAVA_BYTE, i, (byte) (i * 7));
    }
    g.ok(Nr.SETSOCKOPT, client, SOL_TLS, TLS_TX, info.address(), bytes);
    g.ok(Nr.SETSOCKOPT, server, SOL_TLS, TLS_RX, info.address(), bytes);
    if (version == 0x304) {
      MemorySegment one = g.allocate(4);
      one.set(ValueLayout.JAVA_INT, 0, 1);
      g.ok(Nr.SETSOCKOPT, server, SOL_TLS, TLS_RX_EXPECT_NO_PAD, one.address(), 4);
    }
  }

  private long statistic(String name) {
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string("/proc/net/tls_stat").address(), 0);
    MemorySegment b = g.allocate(2048);
    g.ok(Nr.READ, fd, b.address(), 2047);
    g.ok(Nr.CLOSE, fd);
    Matcher m = Pattern.compile(name + "\\s+(\\d+)").matcher(b.getString(0));
    assertThat(m.find()).isTrue();
    return Long.parseLong(m.group(1));
  }

  private void crossTls(String where) {
    MemorySegment[] b = buffers(where, 200_000);
    long before = statistic("TlsRxSw");
    assertThat(before).isPositive();
    for (int size : new int[] {1, 15, 16, 17, 1000, 4096, 16384, 16385, 65536, 200_000}) {
      MemorySegment from = b[0].asSlice(0, size);
      MemorySegment to = b[1].asSlice(0, size);
      randomize(from);
      to.fill((byte) 0);
      long sent = 0;
      long received = 0;
      while (received < size) {
        if (sent < size) {
          long n =
              g.call(Nr.SENDTO, client, from.address() + sent, Math.min(size - sent, 32768), 0x40);
          assertThat(n).isNotIn((long) -Errno.EFAULT, (long) -Errno.EBADMSG);
          sent += Math.max(n, 0);
        }
        long n = g.call(Nr.RECVFROM, server, to.address() + received, size - received, 0x40);
        assertThat(n == -Errno.EAGAIN || n > 0).as("received %d", n).isTrue();
        received += Math.max(n, 0);
      }
      assertThat(to.mismatch(from)).as("%d bytes", size).isEqualTo(-1);
    }
    assertThat(statistic("TlsDecryptError")).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"private", "window"})
  void tls12Aes128Gcm(String where) {
    tls(0x303, 51, 40);
    crossTls(where);
  }

  @ParameterizedTest
  @ValueSource(strings = {"private", "window"})
  void tls13Aes128Gcm(String where) {
    tls(0x304, 51, 40);
    crossTls(where);
  }

  @Test
  void tls13Aes256Gcm() {
    tls(0x304, 52, 56);
    crossTls("private");
  }

  @Test
  void tls12ChaCha20Poly1305() {
    tls(0x303, 54, 56);
    crossTls("private");
  }

  @Test
  void tls13Aes128Ccm() {
    tls(0x304, 53, 40);
    crossTls("private");
  }

  @ParameterizedTest
  @ValueSource(strings = {"private", "window"})
  void zeroCopySendsAreNotified(String where) {
    MemorySegment one = g.allocate(4);
    one.set(ValueLayout.JAVA_INT, 0, 1);
    g.ok(Nr.SETSOCKOPT, client, SOL_SOCKET, 60, one.address(), 4);
    MemorySegment[] b = buffers(where, 40_000);
    randomize(b[0]);
    b[1].fill((byte) 0);
    int rounds = 5;
    for (int i = 0; i < rounds; i++) {
      assertThat(g.ok(Nr.SENDTO, client, b[0].address(), 40_000, MSG_ZEROCOPY)).isEqualTo(40_000);
      for (long n = 0; n < 40_000; ) {
        n += g.ok(Nr.RECVFROM, server, b[1].address() + n, 40_000 - n);
      }
      assertThat(b[1].mismatch(b[0])).isEqualTo(-1);
    }
    // sock_extended_err: errno, origin, type, code, pad, info, data
    MemorySegment control = g.allocate(128);
    MemorySegment msg = g.allocate(56);
    int notified = 0;
    while (notified < rounds) {
      msg.set(ValueLayout.JAVA_LONG, 32, control.address());
      msg.set(ValueLayout.JAVA_LONG, 40, 128);
      g.ok(Nr.RECVMSG, client, msg.address(), MSG_ERRQUEUE);
      assertThat(control.get(ValueLayout.JAVA_INT, 16)).isZero();
      assertThat(control.get(ValueLayout.JAVA_BYTE, 20))
          .as("SO_EE_ORIGIN_ZEROCOPY")
          .isEqualTo((byte) 5);
      int low = control.get(ValueLayout.JAVA_INT, 24);
      int high = control.get(ValueLayout.JAVA_INT, 28);
      assertThat(low).isEqualTo(notified);
      notified = high + 1;
    }
    assertThat(notified).isEqualTo(rounds);
  }

  @ParameterizedTest
  @ValueSource(strings = {"private", "window"})
  void vmspliceToASocket(String where) {
    MemorySegment[] b = buffers(where, 32768);
    randomize(b[0]);
    b[1].fill((byte) 0);
    MemorySegment pipe = g.allocate(8);
    g.ok(Nr.PIPE2, pipe.address(), 0);
    MemorySegment iov = g.allocate(16);
    iov.set(ValueLayout.JAVA_LONG, 0, b[0].address());
    iov.set(ValueLayout.JAVA_LONG, 8, 32768);
    // with SPLICE_F_GIFT too: the kernel must not take the pages
    assertThat(g.ok(Nr.VMSPLICE, pipe.get(ValueLayout.JAVA_INT, 4), iov.address(), 1, 8))
        .isEqualTo(32768);
    for (long n = 0; n < 32768; ) {
      n += g.ok(Nr.SPLICE, pipe.get(ValueLayout.JAVA_INT, 0), 0, client, 0, 32768, 0);
    }
    for (long n = 0; n < 32768; ) {
      n += g.ok(Nr.RECVFROM, server, b[1].address() + n, 32768 - n);
    }
    assertThat(b[1].mismatch(b[0])).isEqualTo(-1);
  }
}
