// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.MessageHeader;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class TraceFormatterTest {
  private final FakeProgram program = new FakeProgram();
  private final TraceFormatter trace = new TraceFormatter();

  TraceFormatterTest() {
    program.reset(new Random(1));
    program.bytes.fill((byte) 0);
  }

  private String format(long result, String name, long... args) {
    return trace.format(MarshallingTest.row(name), Arrays.copyOf(args, 6), program, result);
  }

  private long bytes(String text) {
    long address = program.allocate(text.length() + 1L);
    for (int i = 0; i < text.length(); i++) {
      program.bytes.set(Wire.BYTE, address - FakeProgram.BASE + i, (byte) text.charAt(i));
    }
    return address;
  }

  private long inet(int port, int a, int b, int c, int d) {
    return bytes(
        "\2\0"
            + (char) (port >> 8)
            + (char) (port & 255)
            + (char) a
            + (char) b
            + (char) c
            + (char) d
            + "\0\0\0\0\0\0\0\0");
  }

  @Test
  void everySetOfTheTableIsKnown() {
    for (Row r : SyscallTable.rows()) {
      for (Arg a : r.args()) {
        if (a.kind() == Arg.Kind.FLAGS) {
          assertThat(Names.known(a.set())).as("%s of %s", a.set(), r).isTrue();
        }
      }
    }
  }

  @Test
  void buffersAreShownAsFarAsTheyWereUsed() {
    long b = bytes("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n\1");
    assertThat(format(6, "read", 3, b, 100)).isEqualTo("read(3, \"GET / \", 100) = 6");
    assertThat(format(37, "write", 3, b, 37))
        .isEqualTo("write(3, \"GET / HTTP/1.1\\r\\nHost: example.co\"..., 37) = 37");
    assertThat(format(-Errno.EAGAIN, "read", 3, b, 100))
        .isEqualTo("read(3, 0x" + Long.toHexString(b) + ", 100) = -1 EAGAIN");
    assertThat(format(-Errno.EFAULT, "write", 3, Samples.BAD, 10))
        .isEqualTo("write(3, 0x10, 10) = -1 EFAULT");
    assertThat(format(3, "write", 3, bytes("\1" + "2\377"), 3))
        .isEqualTo("write(3, \"\\0012\\377\", 3) = 3");
    assertThat(format(-Errno.ERESTARTSYS, "read", 3, 0, 1))
        .isEqualTo("read(3, NULL, 1) = ? ERESTARTSYS");
  }

  @Test
  void addressesAreShownByFamily() {
    assertThat(format(0, "bind", 3, inet(8080, 127, 0, 0, 1), 16))
        .isEqualTo(
            "bind(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr(\"127.0.0.1\")},"
                + " 16) = 0");
    long six = bytes("\12\0\0\120\0\0\0\0\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1\2\0\0\0");
    assertThat(format(0, "connect", 3, six, 28))
        .contains("sin6_port=htons(80), sin6_addr=\"2001:db8::1\", sin6_scope_id=2}, 28)");
    long any = bytes("\12\0\0\120\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assertThat(format(0, "connect", 3, any, 28)).contains("sin6_addr=\"::\"}");
    long length = program.allocate(4);
    program.put(length, 16);
    assertThat(format(5, "accept4", 3, inet(9, 10, 0, 0, 2), length, 0x80800))
        .endsWith("inet_addr(\"10.0.0.2\")}, [16], SOCK_NONBLOCK|SOCK_CLOEXEC) = 5");
    assertThat(format(5, "accept4", 3, 0, 0, 0)).isEqualTo("accept4(3, NULL, NULL, 0) = 5");
  }

  @Test
  void flagsAndOptionsHaveNames() {
    assertThat(format(3, "socket", 2, 0x80001, 6))
        .isEqualTo("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 6) = 3");
    long one = program.allocate(4);
    program.put(one, 1);
    assertThat(format(0, "setsockopt", 3, 6, 1, one, 4))
        .isEqualTo("setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0");
    long length = program.allocate(4);
    program.put(length, 4);
    assertThat(format(0, "getsockopt", 3, 1, 4, one, length))
        .isEqualTo("getsockopt(3, SOL_SOCKET, SO_ERROR, [1], [4]) = 0");
    assertThat(format(0, "ioctl", 3, 0x541B, one)).isEqualTo("ioctl(3, FIONREAD, [1]) = 0");
    assertThat(format(0, "ioctl", 3, 0x8913, bytes("lo\0")))
        .isEqualTo("ioctl(3, SIOCGIFFLAGS, {ifr_name=\"lo\", ...}) = 0");
    assertThat(format(-Errno.ENOTTY, "ioctl", 3, 0x89F3, 0))
        .isEqualTo("ioctl(3, 0x89f3, NULL) = -1 ENOTTY");
    assertThat(format(0, "fcntl", 3, 4, 0x802))
        .isEqualTo("fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0");
    assertThat(format(3, "openat", -100, bytes("/etc/hosts"), 0x80000, 0))
        .isEqualTo("openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY|O_CLOEXEC, 0) = 3");
    assertThat(format(0, "shutdown", 3, 1)).isEqualTo("shutdown(3, SHUT_WR) = 0");
    assertThat(format(9, "sendto", 3, bytes("x"), 1, 0x4040, 0, 0))
        .contains("MSG_DONTWAIT|MSG_NOSIGNAL, NULL, 0)");
  }

  @Test
  void keysAreNotShown() {
    long key = bytes("\3\4\63\0secret secret secret secret secret");
    assertThat(format(0, "setsockopt", 3, 282, 1, key, 40))
        .isEqualTo("setsockopt(3, SOL_TLS, TLS_TX, <a key, 40 bytes>, 40) = 0");
    long length = program.allocate(4);
    program.put(length, 40);
    assertThat(format(0, "getsockopt", 3, 282, 2, key, length))
        .isEqualTo("getsockopt(3, SOL_TLS, TLS_RX, <a key, 40 bytes>, [40]) = 0");
  }

  @Test
  void messagesAndVectors() {
    long iov = program.allocate(32);
    program.put(iov, bytes("abc"));
    program.put(iov + 8, 3L);
    program.put(iov + 16, bytes("defgh"));
    program.put(iov + 24, 5L);
    assertThat(format(5, "writev", 3, iov, 2))
        .isEqualTo(
            "writev(3, [{iov_base=\"abc\", iov_len=3}, {iov_base=\"de\"..., iov_len=5}], 2) = 5");
    long m = program.allocate(MessageHeader.BYTES);
    program.put(m + MessageHeader.IOV, iov);
    program.put(m + MessageHeader.IOV_COUNT, 1L);
    program.put(m + MessageHeader.FLAGS, 0x20);
    assertThat(format(3, "recvmsg", 3, m, 0))
        .isEqualTo(
            "recvmsg(3, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"abc\", iov_len=3}],"
                + " msg_iovlen=1, msg_controllen=0, msg_flags=MSG_TRUNC}, 0) = 3");
  }

  @Test
  void waitingCalls() {
    long fds = program.allocate(16);
    program.put(fds, 4);
    program.put(fds + 4, 0x10005);
    assertThat(format(1, "poll", fds, 1, -1))
        .isEqualTo("poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN}], 1, -1) = 1");
    long set = program.allocate(128);
    program.put(set, 0x28L);
    assertThat(format(1, "select", 6, set, 0, 0, 0))
        .isEqualTo("select(6, [3 5], NULL, NULL, NULL) = 1");
    long event = program.allocate(12);
    program.put(event, 0x80000001);
    program.put(event + 4, 7L);
    assertThat(format(0, "epoll_ctl", 3, 1, 4, event))
        .isEqualTo("epoll_ctl(3, EPOLL_CTL_ADD, 4, [{events=EPOLLIN|EPOLLET, data=0x7}]) = 0");
    assertThat(
            trace.formatContinued(
                MarshallingTest.row("close"), new long[] {7, 0, 0, 0, 0, 0}, program))
        .isEqualTo("close(7) = ? (host)");
  }

  @Test
  void garbageNeverThrows() {
    Random random = Seeds.random("garbageNeverThrows");
    for (int n = 0; n < 200; n++) {
      program.reset(random);
      for (Row r : SyscallTable.rows()) {
        long[] args = new long[6];
        for (int i = 0; i < 6; i++) {
          args[i] =
              switch (random.nextInt(4)) {
                case 0 -> random.nextLong();
                case 1 -> random.nextInt(2000);
                case 2 -> FakeProgram.BASE + random.nextInt(FakeProgram.BYTES + 100);
                default -> 0;
              };
        }
        long result = random.nextInt(3) == 0 ? random.nextLong() : random.nextInt(100_000) - 200;
        assertThat(trace.format(r, args, program, result))
            .startsWith(r.name() + "(")
            .contains(" = ");
      }
    }
  }
}
