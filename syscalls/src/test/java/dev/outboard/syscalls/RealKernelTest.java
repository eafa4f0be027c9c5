// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Socket;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * Calls through both marshallers into this machine's kernel, on loopback sockets of the test's own:
 * what comes back must be what the same call brings natively. The program's memory is {@link
 * FakeProgram}'s, so that addresses of the program mean nothing to the kernel.
 */
class RealKernelTest {
  private static final Linker LINKER = Linker.nativeLinker();
  private static final MethodHandle SYSCALL =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("syscall"),
          FunctionDescriptor.of(
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG),
          Linker.Option.captureCallState("errno"),
          Linker.Option.firstVariadicArg(1));
  private static final VarHandle ERRNO =
      Linker.Option.captureStateLayout().varHandle(PathElement.groupElement("errno"));

  private final FakeProgram program = new FakeProgram();
  private final DeviceSpace device = new DeviceSpace();
  private final Call call = new Call(device.data);
  private final DeviceMarshaller marshaller =
      new DeviceMarshaller(
          device.data.address(),
          DeviceSpace.DATA_BYTES,
          device.scratch,
          PathSet.of(List.of()),
          Architecture.X86_64);
  private final MemorySegment state = Arena.ofAuto().allocate(Linker.Option.captureStateLayout());
  private final List<Integer> descriptors = new ArrayList<>();

  RealKernelTest() {
    program.bytes.fill((byte) 0);
  }

  @AfterEach
  void close() {
    descriptors.forEach(fd -> kernel("close", fd));
  }

  /** A call with addresses of this process. */
  private long kernel(String name, long... args) {
    long[] a = Arrays.copyOf(args, 6);
    long r;
    try {
      r =
          (long)
              SYSCALL.invokeExact(
                  state,
                  (long) MarshallingTest.row(name).x86(),
                  a[0],
                  a[1],
                  a[2],
                  a[3],
                  a[4],
                  a[5]);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
    return r == -1 ? -(int) ERRNO.get(state, 0L) : r;
  }

  /** A call with addresses of the program, through both marshallers. */
  private long offloaded(String name, long... args) {
    Row r = MarshallingTest.row(name);
    long[] a = Arrays.copyOf(args, 6);
    long error = HostMarshaller.encode(r, a, program, call);
    if (error < 0) {
      return error;
    }
    long[] k = new long[6];
    long result = marshaller.prepare(r, call, k);
    if (result == 0) {
      result = marshaller.finish(r, call, kernel(name, k));
    }
    call.result = result;
    return HostMarshaller.decode(r, a, call, program);
  }

  /** Where the program's memory lies in this process, for native calls. */
  private long real(long address) {
    return address == 0 ? 0 : program.bytes.address() + (address - FakeProgram.BASE);
  }

  /** Both ways on the same memory; results and memory must agree. */
  private long same(LongSupplier nativeCall, LongSupplier offloadedCall) {
    byte[] before = program.bytes.toArray(Wire.BYTE);
    long expected = nativeCall.getAsLong();
    byte[] after = program.bytes.toArray(Wire.BYTE);
    MemorySegment.copy(before, 0, program.bytes, Wire.BYTE, 0, before.length);
    assertThat(offloadedCall.getAsLong()).isEqualTo(expected);
    assertThat(program.bytes.mismatch(MemorySegment.ofArray(after))).isEqualTo(-1);
    return expected;
  }

  private int socket(int domain, int type, int protocol) {
    long fd = offloaded("socket", domain, type | Socket.SOCK_CLOEXEC, protocol);
    assertThat(fd).isNotNegative();
    descriptors.add((int) fd);
    return (int) fd;
  }

  private long loopback(int port) {
    long address = program.allocate(16);
    program.put(address, 2 | Integer.reverseBytes(port)); // family, and port in network order
    program.put(address + 4, 0x0100007f);
    return address;
  }

  private long word(int value) {
    long address = program.allocate(4);
    program.put(address, value);
    return address;
  }

  private int boundPort(int fd) {
    long address = program.allocate(128);
    assertThat(offloaded("getsockname", fd, address, word(128))).isZero();
    return Integer.reverseBytes(program.getInt(address)) & 0xffff;
  }

  @Test
  void aConnectionFromSocketToShutdown() {
    int listener = socket(Socket.AF_INET, Socket.SOCK_STREAM, 0);
    assertThat(offloaded("bind", listener, loopback(0), 16)).isZero();
    assertThat(offloaded("listen", listener, 5)).isZero();
    int client = socket(Socket.AF_INET, Socket.SOCK_STREAM, 0);
    assertThat(offloaded("connect", client, loopback(boundPort(listener)), 16)).isZero();
    long peer = program.allocate(128);
    long length = word(7); // shorter than the address
    int server = (int) offloaded("accept4", listener, peer, length, Socket.SOCK_CLOEXEC);
    assertThat(server).isPositive();
    descriptors.add(server);
    assertThat(program.getInt(length)).isEqualTo(16);
    assertThat(program.getInt(peer + 4) & 0xffffff).isEqualTo(0x00007f);
    for (int room : new int[] {0, 3, 16, 128, -1}) {
      long name = program.allocate(128);
      long l = word(room);
      same(
          () -> kernel("getpeername", server, real(name), real(l)),
          () -> offloaded("getpeername", server, name, l));
    }

    long data = program.allocate(64);
    program.put(data, 0x6867666564636261L);
    assertThat(offloaded("write", client, data, 8)).isEqualTo(8);
    long into = program.allocate(64);
    assertThat(offloaded("recvfrom", server, into, 64, Socket.MSG_PEEK, 0, 0)).isEqualTo(8);
    long available = program.allocate(4);
    same(
        () -> kernel("ioctl", server, 0x541B, real(available)),
        () -> offloaded("ioctl", server, 0x541B, available));
    assertThat(program.getInt(available)).isEqualTo(8);
    assertThat(offloaded("read", server, into, 64)).isEqualTo(8);
    assertThat(program.getLong(into)).isEqualTo(0x6867666564636261L);
    assertThat(offloaded("recvfrom", server, into, 64, Socket.MSG_DONTWAIT, 0, 0))
        .isEqualTo(-Errno.EAGAIN);
    assertThat(offloaded("pread64", server, into, 8, 0)).isEqualTo(-Errno.ESPIPE);

    options(server);
    assertThat(offloaded("shutdown", client, Socket.SHUT_WR)).isZero();
    assertThat(offloaded("read", server, into, 64)).isZero();
  }

  private void options(int fd) {
    int[][] asked = {
      {1, 3}, {1, 13}, {1, 20}, {1, 30}, {1, 38}, {6, 1}, {6, 13}, {0, 2}, {1, 57}, {1, 9999},
      {6, 4}
    };
    for (int[] option : asked) {
      for (int room : new int[] {0, 1, 4, 8, 64, 1000, -1}) {
        long value = program.allocate(1000);
        long length = word(room);
        same(
            () -> kernel("getsockopt", fd, option[0], option[1], real(value), real(length)),
            () -> offloaded("getsockopt", fd, option[0], option[1], value, length));
      }
    }
    long linger = program.allocate(8);
    program.put(linger, 1);
    program.put(linger + 4, 3);
    for (int length : new int[] {0, 4, 8, 9, 2000, -1}) {
      same(
          () -> kernel("setsockopt", fd, 1, 13, real(linger), length),
          () -> offloaded("setsockopt", fd, 1, 13, linger, length));
    }
    // A filter that lets all pass, and back.
    long code = program.allocate(16);
    program.put(code, 0xffffffff_00000006L);
    long fprog = program.allocate(16);
    program.put(fprog, 1L);
    program.put(fprog + 8, code);
    assertThat(offloaded("setsockopt", fd, 1, 26, fprog, 16)).isZero();
    long back = program.allocate(64);
    long count = word(8);
    assertThat(offloaded("getsockopt", fd, 1, 26, back, count)).isZero();
    assertThat(program.getInt(count)).isEqualTo(1);
    assertThat(program.getLong(back)).isEqualTo(0xffffffff_00000006L);
    long none = word(0);
    assertThat(offloaded("getsockopt", fd, 1, 26, back, none)).isZero();
    assertThat(program.getInt(none)).isEqualTo(1);
  }

  @Test
  void datagramsWithNamesAndControlMessages() {
    int receiver = socket(Socket.AF_INET, Socket.SOCK_DGRAM, 0);
    assertThat(offloaded("bind", receiver, loopback(0), 16)).isZero();
    assertThat(offloaded("setsockopt", receiver, 0, 8, word(1), 4)).isZero(); // IP_PKTINFO
    int sender = socket(Socket.AF_INET, Socket.SOCK_DGRAM, 0);
    long data = program.allocate(64);
    program.put(data, 0x0807060504030201L);
    long iov = program.allocate(32);
    program.put(iov, data);
    program.put(iov + 8, 3L);
    program.put(iov + 16, data + 3);
    program.put(iov + 24, 5L);
    long control = program.allocate(24);
    program.put(control, 20L); // IP_TTL 42
    program.put(control + 12, 2);
    program.put(control + 16, 42);
    long out = program.allocate(MessageHeader.BYTES);
    program.put(out + MessageHeader.NAME, loopback(boundPort(receiver)));
    program.put(out + MessageHeader.NAME_BYTES, 16);
    program.put(out + MessageHeader.IOV, iov);
    program.put(out + MessageHeader.IOV_COUNT, 2L);
    program.put(out + MessageHeader.CONTROL, control);
    program.put(out + MessageHeader.CONTROL_BYTES, 24L);
    assertThat(offloaded("sendmsg", sender, out, 0)).isEqualTo(8);

    // Peeked at natively and through the marshallers, with room for all and for less.
    for (int dataRoom : new int[] {64, 5, 0}) {
      for (int nameRoom : new int[] {128, 16, 4, 0}) {
        for (int controlRoom : new int[] {256, 28, 20, 8, 0}) {
          peek(receiver, dataRoom, nameRoom, controlRoom);
        }
      }
    }
  }

  private void peek(int fd, int dataRoom, int nameRoom, int controlRoom) {
    long into = program.allocate(64);
    long name = program.allocate(128);
    long control = program.allocate(256);
    long iov = program.allocate(16);
    long m = program.allocate(MessageHeader.BYTES);
    program.put(iov + 8, (long) dataRoom);
    program.put(m + MessageHeader.NAME_BYTES, nameRoom);
    program.put(m + MessageHeader.IOV_COUNT, 1L);
    program.put(m + MessageHeader.CONTROL_BYTES, (long) controlRoom);
    LongSupplier natively =
        () -> {
          point(m, iov, real(into), real(name), real(iov), real(control));
          long r = kernel("recvmsg", fd, real(m), Socket.MSG_PEEK);
          point(m, iov, into, name, iov, control);
          return r;
        };
    LongSupplier offloaded =
        () -> {
          point(m, iov, into, name, iov, control);
          return offloaded("recvmsg", fd, m, Socket.MSG_PEEK);
        };
    assertThat(same(natively, offloaded)).isEqualTo(Math.min(8, dataRoom));
    assertThat(program.getInt(m + MessageHeader.NAME_BYTES)).isEqualTo(16);
  }

  private void point(long m, long iov, long into, long name, long vector, long control) {
    program.put(iov, into);
    program.put(m + MessageHeader.NAME, name);
    program.put(m + MessageHeader.IOV, vector);
    program.put(m + MessageHeader.CONTROL, control);
  }

  @Test
  void requestsAboutInterfaces() {
    int fd = socket(Socket.AF_INET, Socket.SOCK_DGRAM, 0);
    for (int request : new int[] {0x8913, 0x8915, 0x891b, 0x8921, 0x8927, 0x8933, 0x8942, 0x8970}) {
      long ifreq = program.allocate(40);
      program.put(ifreq, 0x6f6c); // "lo"
      long result =
          same(
              () -> kernel("ioctl", fd, request, real(ifreq)),
              () -> offloaded("ioctl", fd, request, ifreq));
      assertThat(result).as(Integer.toHexString(request)).isZero();
    }
    long missing = program.allocate(40);
    program.put(missing, 0x7a7a7a7a);
    assertThat(offloaded("ioctl", fd, 0x8913, missing)).isEqualTo(-Errno.ENODEV);

    long conf = program.allocate(16);
    long buffer = program.allocate(400);
    for (int room : new int[] {400, 40, 39, 0}) {
      program.put(conf, room);
      same(
          () -> {
            program.put(conf + 8, real(buffer));
            long r = kernel("ioctl", fd, 0x8912, real(conf));
            program.put(conf + 8, buffer);
            return r;
          },
          () -> {
            program.put(conf + 8, buffer);
            return offloaded("ioctl", fd, 0x8912, conf);
          });
      assertThat(program.getInt(conf))
          .isEqualTo(Math.min(room / 40, program.getInt(conf) / 40) * 40);
    }
    program.put(conf + 8, 0L);
    assertThat(offloaded("ioctl", fd, 0x8912, conf)).isZero();
    assertThat(program.getInt(conf)).isGreaterThanOrEqualTo(40);

    ethtool(fd, 0x03, 196); // GDRVINFO, which loopback may not have
    assertThat(ethtool(fd, 0x0a, 8)).as("GLINK").isZero();
    assertThat(ethtool(fd, 0x2b, 8)).as("GGRO").isZero();
    assertThat(ethtool(fd, 0x3a, 8 + 16 * 2)).as("GFEATURES").isZero();
    long ifreq = program.allocate(40);
    program.put(ifreq, 0x6f6c);
    program.put(ifreq + 16, word(0x1d)); // GSTATS
    assertThat(offloaded("ioctl", fd, 0x8946, ifreq)).isEqualTo(-Errno.EOPNOTSUPP);
  }

  private long ethtool(int fd, int command, int bytes) {
    long ifreq = program.allocate(40);
    program.put(ifreq, 0x6f6c);
    long at = program.allocate(bytes);
    program.put(at, command);
    program.put(at + 4, 2);
    return same(
        () -> {
          program.put(ifreq + 16, real(at));
          long r = kernel("ioctl", fd, 0x8946, real(ifreq));
          program.put(ifreq + 16, at);
          return r;
        },
        () -> {
          program.put(ifreq + 16, at);
          return offloaded("ioctl", fd, 0x8946, ifreq);
        });
  }
}
