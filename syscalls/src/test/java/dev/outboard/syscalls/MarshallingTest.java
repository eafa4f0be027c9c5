// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static dev.outboard.abi.Errno.EAFNOSUPPORT;
import static dev.outboard.abi.Errno.EFAULT;
import static dev.outboard.abi.Errno.EINVAL;
import static dev.outboard.abi.Errno.ENOPROTOOPT;
import static dev.outboard.abi.Errno.ENOSYS;
import static dev.outboard.abi.Errno.ENOTTY;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Xdp;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/**
 * Calls through both marshallers against the same calls made natively, on a model of the kernel.
 * Every row that runs on a device takes part, and every option and request of the sub-tables.
 */
class MarshallingTest {
  private final FakeProgram program = new FakeProgram();
  private final DeviceSpace device = new DeviceSpace();
  private final Call call = new Call(device.data);
  private final Call taken = new Call(device.data);
  private final DeviceMarshaller marshaller =
      new DeviceMarshaller(
          device.data.address(),
          DeviceSpace.DATA_BYTES,
          device.scratch,
          PathSet.of(List.of()),
          Architecture.X86_64);
  private final long[] kernelArgs = new long[6];

  static List<Row> deviceRows() {
    return SyscallTable.rows().stream().filter(Row::onDevice).toList();
  }

  /** As {@link #deviceRows}, those with sub-tables so often that their lines get their turn. */
  private static List<Row> withSubTables() {
    List<Row> rows = new ArrayList<>(deviceRows());
    for (String name : new String[] {"ioctl", "getsockopt", "setsockopt"}) {
      rows.addAll(Collections.nCopies(20, row(name)));
    }
    return rows;
  }

  static Row row(String name) {
    return Objects.requireNonNull(SyscallTable.byName(name), name);
  }

  /** The call as the channel carries it: the device has its own copy of the arguments. */
  private void carry() {
    taken.number = call.number;
    System.arraycopy(call.args, 0, taken.args, 0, 6);
  }

  private long throughMarshallers(Row r, long[] args, long seed, List<String> seen) {
    long error = HostMarshaller.encode(r, args, program, call);
    if (error < 0) {
      return error;
    }
    carry();
    long result = marshaller.prepare(r, taken, kernelArgs);
    if (result == 0) {
      result = new ModelKernel(device, new Random(seed), seen).call(r, kernelArgs);
      result = marshaller.finish(r, taken, result);
    }
    call.result = result;
    return HostMarshaller.decode(r, args, call, program);
  }

  /** Makes one call both ways and compares result, what the kernel read, and all memory. */
  private void compare(Row r, long[] args, Random random) {
    long seed = random.nextLong();
    byte[] before = program.bytes.toArray(Wire.BYTE);
    List<String> nativeSeen = new ArrayList<>();
    long expected = new ModelKernel(program, new Random(seed), nativeSeen).call(r, args);
    byte[] after = program.bytes.toArray(Wire.BYTE);
    MemorySegment.copy(before, 0, program.bytes, Wire.BYTE, 0, before.length);
    List<String> seen = new ArrayList<>();
    long result = throughMarshallers(r, args, seed, seen);
    String what = r + Arrays.toString(args);
    assertThat(result).as("result of %s", what).isEqualTo(expected);
    if (expected >= 0) {
      assertThat(seen).as("read by %s", what).isEqualTo(nativeSeen);
      assertThat(program.bytes.mismatch(MemorySegment.ofArray(after)))
          .as("first byte that differs after %s", what)
          .isEqualTo(-1);
    }
  }

  @Test
  void everyRowBehavesAsNatively() {
    Random random = Seeds.random("everyRowBehavesAsNatively");
    Samples samples = new Samples(program, random);
    for (int round = 0; round < 8; round++) {
      for (Row r : deviceRows()) {
        program.reset(random);
        for (int n = 0; n < 4; n++) {
          compare(r, samples.call(r, false), random);
        }
      }
    }
  }

  @Test
  void faultsAreAnsweredAsNatively() {
    Random random = Seeds.random("faultsAreAnsweredAsNatively");
    Samples samples = new Samples(program, random);
    for (int round = 0; round < 25; round++) {
      for (Row r : deviceRows()) {
        program.reset(random);
        for (int n = 0; n < 2; n++) {
          compare(r, samples.call(r, true), random);
        }
      }
    }
  }

  @Test
  void everyOptionBehavesAsNatively() {
    Random random = Seeds.random("everyOptionBehavesAsNatively");
    Samples samples = new Samples(program, random);
    for (SocketOptions.Option o : SocketOptions.rows()) {
      for (String name : new String[] {"setsockopt", "getsockopt"}) {
        program.reset(random);
        for (int n = 0; n < 3; n++) {
          long[] args = new long[6];
          samples.option(row(name), o, args, n == 2);
          compare(row(name), args, random);
        }
      }
    }
  }

  @Test
  void everyRequestBehavesAsNatively() {
    Random random = Seeds.random("everyRequestBehavesAsNatively");
    Samples samples = new Samples(program, random);
    for (IoctlRequests.Request q : IoctlRequests.rows()) {
      program.reset(random);
      for (int n = 0; n < 12; n++) {
        long[] args = new long[6];
        samples.request(q, args, n > 7);
        compare(row("ioctl"), args, random);
      }
    }
  }

  @Test
  void aHostileHostReachesNothingButItsData() {
    Random random = Seeds.random("aHostileHostReachesNothingButItsData");
    Samples samples = new Samples(program, random);
    int accepted = 0;
    for (int round = 0; round < 100; round++) {
      for (Row r : withSubTables()) {
        program.reset(random);
        long[] args = samples.call(r, false);
        if (HostMarshaller.encode(r, args, program, call) < 0) {
          continue;
        }
        carry();
        for (int n = random.nextInt(3); n > 0; n--) {
          taken.args[random.nextInt(6)] = nasty(random);
        }
        DeviceSpace.scramble(random, device.data, 600);
        if (marshaller.prepare(r, taken, kernelArgs) < 0) {
          continue;
        }
        accepted++;
        device.hostile = random;
        try {
          // Fails if it leaves the data.
          long result = new ModelKernel(device, random, new ArrayList<>()).call(r, kernelArgs);
          marshaller.finish(r, taken, result);
        } finally {
          device.hostile = null;
        }
      }
    }
    assertThat(accepted).isGreaterThan(1000);
  }

  private static long nasty(Random random) {
    long[] values = {
      0,
      1,
      -1,
      -2,
      8,
      16,
      DeviceSpace.DATA_BYTES,
      DeviceSpace.DATA_BYTES - 4,
      1L << 32,
      1L << 62,
      Long.MAX_VALUE,
      Long.MIN_VALUE,
      Integer.MAX_VALUE,
      0x8946,
      0x8912,
      26,
      11,
      1,
      6
    };
    return random.nextInt(6) == 0 ? random.nextLong() : values[random.nextInt(values.length)];
  }

  @Test
  void aHostileDeviceWritesOnlyWhereTheCallMay() {
    Random random = Seeds.random("aHostileDeviceWritesOnlyWhereTheCallMay");
    Samples samples = new Samples(program, random);
    byte[] noise = new byte[4096];
    for (int round = 0; round < 20; round++) {
      for (Row r : withSubTables()) {
        program.reset(random);
        long[] args = samples.call(r, false);
        if (HostMarshaller.encode(r, args, program, call) < 0) {
          continue;
        }
        random.nextBytes(noise);
        MemorySegment.copy(noise, 0, device.data, Wire.BYTE, 0, noise.length);
        for (int at = 0; at < 64; at += Long.BYTES) {
          if (random.nextBoolean()) {
            device.data.set(Wire.LONG, at, random.nextInt(8192)); // a length that looks right
          }
        }
        DeviceSpace.scramble(random, device.data, 600);
        call.result = random.nextInt(4) == 0 ? nasty(random) : random.nextInt(100_000);
        byte[] before = program.bytes.toArray(Wire.BYTE);
        HostMarshaller.decode(r, args, call, program);
        byte[] after = program.bytes.toArray(Wire.BYTE);
        for (Samples.Range out : samples.outputs) {
          int from = (int) (out.from() - FakeProgram.BASE);
          Arrays.fill(before, from, from + (int) out.bytes(), (byte) 0);
          Arrays.fill(after, from, from + (int) out.bytes(), (byte) 0);
        }
        assertThat(Arrays.mismatch(before, after)).as("%s wrote elsewhere", r).isEqualTo(-1);
      }
    }
  }

  @Test
  void theDeviceRefusesWhatItDoesNotRun() {
    for (Row r : SyscallTable.rows()) {
      if (!r.onDevice()) {
        assertThat(marshaller.prepare(r, taken, kernelArgs)).as(r.name()).isEqualTo(-ENOSYS);
        assertThat(HostMarshaller.encode(r, new long[6], program, call)).isEqualTo(-ENOSYS);
      }
    }
  }

  @Test
  void theDeviceMakesOnlySocketsOfItsFamilies() {
    for (int domain = -1; domain < 60; domain++) {
      taken.args[0] = domain;
      taken.args[1] = 1;
      taken.args[2] = 0;
      boolean allowed =
          switch (domain) {
            case Socket.AF_INET,
                Socket.AF_INET6,
                Socket.AF_PACKET,
                Socket.AF_ALG,
                Socket.AF_NETLINK,
                Xdp.AF_XDP ->
                true;
            default -> false;
          };
      assertThat(marshaller.prepare(row("socket"), taken, kernelArgs))
          .isEqualTo(allowed ? 0 : -EAFNOSUPPORT);
    }
    taken.args[0] = Socket.AF_NETLINK;
    taken.args[2] = 15; // uevents are the host's
    assertThat(marshaller.prepare(row("socket"), taken, kernelArgs)).isEqualTo(-EAFNOSUPPORT);
  }

  @Test
  void unknownRequestsAreRefusedOnBothSides() {
    long[] args = {3, 0x89F0, FakeProgram.BASE, 0, 0, 0};
    assertThat(HostMarshaller.encode(row("ioctl"), args, program, call)).isEqualTo(-ENOTTY);
    taken.args[1] = 0x89F0;
    taken.args[2] = 0;
    assertThat(marshaller.prepare(row("ioctl"), taken, kernelArgs)).isEqualTo(-ENOTTY);
  }

  @Test
  void unknownOptionsAreRefusedOnBothSides() {
    Random random = Seeds.random("unknownOptionsAreRefusedOnBothSides");
    program.reset(random);
    long value = program.allocate(64);
    long length = program.allocate(4);
    program.put(length, 64);
    List<int[]> pairs = new ArrayList<>();
    Set<Integer> levels = new TreeSet<>(List.of(-1, 2, 255, 1 << 16));
    SocketOptions.rows().forEach(o -> levels.add(o.level()));
    for (int level : levels) {
      for (int name = -1; name < 300; name++) {
        pairs.add(new int[] {level, name});
      }
      pairs.add(new int[] {level, random.nextInt()});
    }
    pairs.add(new int[] {random.nextInt(), 1});
    int refused = 0;
    for (int[] pair : pairs) {
      if (SocketOptions.find(pair[0], pair[1]) == null) {
        refused++;
        for (String name : List.of("getsockopt", "setsockopt")) {
          boolean out = name.equals("getsockopt");
          assertThat(encode(name, 3, pair[0], pair[1], value, out ? length : 64))
              .as("%s(%d, %d) of a program", name, pair[0], pair[1])
              .isEqualTo(-ENOPROTOOPT);
          // A host that does not care: its offsets are good ones.
          assertThat(prepareOption(name, pair[0], pair[1]))
              .as("%s(%d, %d) of a host", name, pair[0], pair[1])
              .isEqualTo(-ENOPROTOOPT);
        }
      }
    }
    assertThat(refused).isGreaterThan(1000);
    // The same with one that there is.
    for (String name : List.of("getsockopt", "setsockopt")) {
      long last = name.equals("getsockopt") ? length : 4;
      assertThat(encode(name, 3, Socket.SOL_SOCKET, Socket.SO_REUSEADDR, value, last)).isZero();
      assertThat(prepareOption(name, Socket.SOL_SOCKET, Socket.SO_REUSEADDR)).isZero();
    }
  }

  private long prepareOption(String name, int level, int option) {
    long[] args = {3, level, option, 0, name.equals("getsockopt") ? 64 : 4, 0};
    System.arraycopy(args, 0, taken.args, 0, args.length);
    device.data.set(Wire.INT, 64, 4);
    return marshaller.prepare(row(name), taken, kernelArgs);
  }

  @Test
  void descriptorsDoNotCrossInControlMessages() {
    program.reset(new Random(1));
    long control = program.allocate(64);
    program.put(control, 20L); // a harmless message first
    program.put(control + 8, 0);
    program.put(control + 12, 8);
    program.put(control + 24, 20L);
    program.put(control + 32, Socket.SOL_SOCKET);
    program.put(control + 36, Socket.SCM_RIGHTS);
    long message = program.allocate(MessageHeader.BYTES);
    program.put(message + MessageHeader.NAME, 0L);
    program.put(message + MessageHeader.IOV_COUNT, 0L);
    program.put(message + MessageHeader.CONTROL, control);
    program.put(message + MessageHeader.CONTROL_BYTES, 44L);
    long[] args = {3, message, 0, 0, 0, 0};
    assertThat(HostMarshaller.encode(row("sendmsg"), args, program, call)).isEqualTo(-EINVAL);
    program.put(control + 36, 2);
    assertThat(HostMarshaller.encode(row("sendmsg"), args, program, call)).isZero();
  }

  @Test
  void longTransfersGoInPieces() {
    Random random = Seeds.random("longTransfersGoInPieces");
    program.reset(random);
    int whole = 300_000;
    long buffer = program.allocate(whole);
    byte[] bytes = new byte[whole];
    random.nextBytes(bytes);
    MemorySegment.copy(bytes, 0, program.bytes, Wire.BYTE, buffer - FakeProgram.BASE, whole);
    long iov = program.allocate(48);
    int[] lengths = {100_001, 0, whole - 100_001};
    long at = buffer;
    for (int i = 0; i < 3; i++) {
      program.put(iov + 16L * i, at);
      program.put(iov + 16L * i + 8, (long) lengths[i]);
      at += lengths[i];
    }
    long message = program.allocate(MessageHeader.BYTES);
    program.bytes.asSlice(message - FakeProgram.BASE, MessageHeader.BYTES).fill((byte) 0);
    program.put(message + MessageHeader.IOV, iov);
    program.put(message + MessageHeader.IOV_COUNT, 3L);
    pieces("write", new long[] {3, buffer, whole, 0, 0, 0}, bytes);
    pieces("sendto", new long[] {3, buffer, whole, 0, 0, 0}, bytes);
    pieces("writev", new long[] {3, iov, 3, 0, 0, 0}, bytes);
    pieces("sendmsg", new long[] {3, message, 0, 0, 0, 0}, bytes);
    received("read", new long[] {3, buffer, whole, 0, 0, 0}, buffer, whole, random);
    received("readv", new long[] {3, iov, 3, 0, 0, 0}, buffer, whole, random);
    received("recvmsg", new long[] {3, message, 0, 0, 0, 0}, buffer, whole, random);
  }

  private void pieces(String name, long[] args, byte[] expected) {
    byte[] sent = new byte[expected.length];
    int skip = 0;
    while (skip < expected.length) {
      assertThat(HostMarshaller.encode(row(name), args, program, call, skip)).isZero();
      assertThat(call.wanted).isEqualTo(expected.length - skip);
      assertThat(call.carried).isBetween(1L, (long) Call.PIECE_BYTES);
      long at =
          name.equals("sendmsg")
              ? device.data.get(Wire.LONG, call.args[1] + Wire.MSG_DATA)
              : call.args[1];
      int n = (int) call.carried;
      MemorySegment.copy(device.data, Wire.BYTE, at, sent, skip, n);
      skip += n;
    }
    assertThat(sent).as(name).isEqualTo(expected);
  }

  private void received(String name, long[] args, long buffer, int whole, Random random) {
    byte[] expected = new byte[whole];
    random.nextBytes(expected);
    int skip = 0;
    while (skip < whole) {
      assertThat(HostMarshaller.encode(row(name), args, program, call, skip)).isZero();
      long at =
          name.equals("recvmsg")
              ? device.data.get(Wire.LONG, call.args[1] + Wire.MSG_DATA)
              : call.args[1];
      int n = (int) Math.min(call.carried, 1 + random.nextInt(Call.PIECE_BYTES));
      MemorySegment.copy(expected, skip, device.data, Wire.BYTE, at, n);
      call.result = n;
      assertThat(HostMarshaller.decode(row(name), args, call, program)).isEqualTo(n);
      skip += n;
    }
    byte[] got = new byte[whole];
    MemorySegment.copy(program.bytes, Wire.BYTE, buffer - FakeProgram.BASE, got, 0, whole);
    assertThat(got).as(name).isEqualTo(expected);
  }

  @Test
  void truncatedReceivesLeaveTheBufferAlone() {
    Random random = Seeds.random("truncatedReceivesLeaveTheBufferAlone");
    program.reset(random);
    long buffer = program.allocate(100);
    long[] args = {3, buffer, 100, Socket.MSG_TRUNC, 0, 0};
    byte[] before = program.bytes.toArray(Wire.BYTE);
    // A stream counts bytes that it does not copy: the kernel leaves the data as it is.
    assertThat(HostMarshaller.encode(row("recvfrom"), args, program, call)).isZero();
    call.result = 80;
    assertThat(HostMarshaller.decode(row("recvfrom"), args, call, program)).isEqualTo(80);
    assertThat(program.bytes.toArray(Wire.BYTE)).isEqualTo(before);
    // A datagram's true length is more than there is room for.
    assertThat(HostMarshaller.encode(row("recvfrom"), args, program, call)).isZero();
    call.result = 5000;
    assertThat(HostMarshaller.decode(row("recvfrom"), args, call, program)).isEqualTo(5000);
    // The idiom to drop bytes of a stream.
    args[1] = 0;
    assertThat(HostMarshaller.encode(row("recvfrom"), args, program, call)).isZero();
    call.result = 80;
    assertThat(HostMarshaller.decode(row("recvfrom"), args, call, program)).isEqualTo(80);
  }

  @Test
  void lengthsThatAreNoLengthsFault() {
    program.reset(new Random(1));
    long buffer = program.allocate(16);
    assertThat(encode("read", 3, buffer, -1)).isEqualTo(-EFAULT);
    assertThat(encode("write", 3, buffer, Long.MIN_VALUE)).isEqualTo(-EFAULT);
    assertThat(encode("readv", 3, buffer, -1)).isEqualTo(-EINVAL);
    assertThat(encode("readv", 3, buffer, 1025)).isEqualTo(-EINVAL);
    assertThat(encode("recvfrom", 3, buffer, -1, 0, 0, 0)).isZero();
    assertThat(call.wanted).isEqualTo(0x7ffff000L);
    assertThat(encode("bind", 3, buffer, 129)).isEqualTo(-EINVAL);
    assertThat(encode("bind", 3, buffer, -1)).isEqualTo(-EINVAL);
    assertThat(encode("setsockopt", 3, 1, 2, buffer, -1)).isEqualTo(-EINVAL);
  }

  private long encode(String name, long... args) {
    return HostMarshaller.encode(row(name), Arrays.copyOf(args, 6), program, call);
  }

  @Test
  void structuresAtTheEndOfMemory() {
    program.reset(new Random(1));
    // struct in6_ifreq is shorter than ifreq: 24 bytes must do.
    assertThat(encode("ioctl", 3, 0x8916, FakeProgram.atTheEnd(24))).isZero();
    assertThat(encode("ioctl", 3, 0x8916, FakeProgram.atTheEnd(23))).isEqualTo(-EFAULT);
    // struct in6_rtmsg is shorter than rtentry; a kernel that wants an rtentry must see a fault.
    assertThat(encode("ioctl", 3, 0x890B, FakeProgram.atTheEnd(80))).isZero();
    carry();
    assertThat(marshaller.prepare(row("ioctl"), taken, kernelArgs)).isZero();
    assertThat(device.scratch.get(Wire.LONG, kernelArgs[2] - device.scratch.address() + 88))
        .isEqualTo(8);
    assertThat(encode("ioctl", 3, 0x890B, FakeProgram.atTheEnd(79))).isEqualTo(-EFAULT);
  }
}
