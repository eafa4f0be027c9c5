// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** What another architecture than this one's kernel gets of canonical calls. */
class ArchitectureTest {
  private static final int O_DIRECTORY = 040000; // arch/arm64/include/uapi/asm/fcntl.h
  private static final int O_NOFOLLOW = 0100000;
  private static final int O_DIRECT = 0200000;
  private static final int O_LARGEFILE = 0400000;

  private static final String DIRECTORY = "/exported";

  private final FakeProgram program = new FakeProgram();
  private final DeviceSpace device = new DeviceSpace();
  private final Call call = new Call(device.data);
  private final DeviceMarshaller canonical = marshaller(Architecture.X86_64);
  private final DeviceMarshaller arm64 = marshaller(Architecture.ARM64);

  private DeviceMarshaller marshaller(Architecture abi) {
    return new DeviceMarshaller(
        device.data.address(),
        DeviceSpace.DATA_BYTES,
        device.scratch,
        PathSet.of(List.of(DIRECTORY)),
        abi);
  }

  @Test
  void ownCallsHaveTheNumbersOfTheTable() throws Exception {
    Set<String> notThere = Set.of("POLL", "EPOLL_WAIT"); // by libc and by epoll_pwait
    List<String> absent = new ArrayList<>();
    for (Field f : SyscallNumbers.class.getFields()) {
      int x86 = f.getInt(null);
      Row row = Objects.requireNonNull(SyscallTable.byX86(x86), f.getName());
      assertThat(Architecture.X86_64.number(x86)).isEqualTo(x86);
      assertThat(Architecture.ARM64.number(x86)).as(f.getName()).isEqualTo(row.canonical());
      assertThat(row.number(Architecture.ARM64)).isEqualTo(row.canonical());
      assertThat(row.number(Architecture.X86_64)).isEqualTo(x86);
      if (row.canonical() < 0) {
        absent.add(f.getName());
      }
    }
    assertThat(absent).containsExactlyInAnyOrderElementsOf(notThere);
    for (int number : new int[] {-1, 513, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
      assertThat(Architecture.ARM64.number(number)).isEqualTo(-1);
    }
  }

  @Test
  void flagsOfOpenAreThoseOfItsHeader() {
    Architecture a = Architecture.ARM64;
    assertThat(a.openFlags(Fcntl.O_DIRECTORY)).isEqualTo(O_DIRECTORY);
    assertThat(a.openFlags(Fcntl.O_NOFOLLOW)).isEqualTo(O_NOFOLLOW);
    assertThat(a.openFlags(Fcntl.O_DIRECT)).isEqualTo(O_DIRECT);
    assertThat(a.openFlags(Fcntl.O_LARGEFILE)).isEqualTo(O_LARGEFILE);
    assertThat(a.openFlags(Fcntl.O_TMPFILE)).isEqualTo(Fcntl.O_TMPFILE_ALONE | O_DIRECTORY);
    Random random = Seeds.random("flagsOfOpenAreThoseOfItsHeader");
    for (int i = 0; i < 10_000; i++) {
      int flags = random.nextInt();
      assertThat(a.canonicalOpenFlags(a.openFlags(flags))).isEqualTo(flags);
      assertThat(a.openFlags(a.canonicalOpenFlags(flags))).isEqualTo(flags);
      assertThat(Architecture.X86_64.openFlags(flags)).isEqualTo(flags);
      assertThat(Architecture.X86_64.canonicalOpenFlags(flags)).isEqualTo(flags);
    }
  }

  @Test
  void epollEventIsPackedOnX86Alone() {
    assertThat(Architecture.X86_64.epollEventBytes()).isEqualTo(12);
    assertThat(Architecture.X86_64.epollEventData()).isEqualTo(4);
    assertThat(Architecture.ARM64.epollEventBytes()).isEqualTo(16);
    assertThat(Architecture.ARM64.epollEventData()).isEqualTo(8);
  }

  @Test
  void anotherMachineIsRefusedByName() {
    assertThat(Architecture.of("aarch64")).isEqualTo(Architecture.ARM64);
    assertThatThrownBy(() -> Architecture.of("riscv64")).hasMessageContaining("riscv64");
  }

  /** The six arguments that a kernel gets, after a call came through both marshallers. */
  private long[] prepared(DeviceMarshaller m, String name, long... args) {
    Row r = MarshallingTest.row(name);
    long[] a = new long[6];
    System.arraycopy(args, 0, a, 0, args.length);
    assertThat(HostMarshaller.encode(r, a, program, call)).isZero();
    long[] k = new long[6];
    assertThat(m.prepare(r, call, k)).isZero();
    return k;
  }

  @Test
  void callsThatOpenGetItsFlags() {
    long path = program.string(DIRECTORY + "/a");
    int flags = Fcntl.O_RDWR | Fcntl.O_DIRECTORY | Fcntl.O_NOFOLLOW | Fcntl.O_CLOEXEC;
    long at = Fcntl.AT_FDCWD;
    assertThat(prepared(canonical, "openat", at, path, flags, 0)[2]).isEqualTo(flags);
    assertThat(prepared(arm64, "openat", at, path, flags, 0)[2])
        .isEqualTo(Fcntl.O_RDWR | O_DIRECTORY | O_NOFOLLOW | Fcntl.O_CLOEXEC);

    long how = program.allocate(24);
    program.put(how, Fcntl.O_DIRECT | 0x1_0000_0000L);
    program.put(how + 8, 0700L);
    program.put(how + 16, 0x08L);
    long[] k = prepared(canonical, "openat2", at, path, how, 24);
    MemorySegment at2 = MemorySegment.ofAddress(k[2]).reinterpret(24);
    assertThat(at2.get(Wire.LONG, 0)).isEqualTo(Fcntl.O_DIRECT | 0x1_0000_0000L);
    k = prepared(arm64, "openat2", at, path, how, 24);
    at2 = MemorySegment.ofAddress(k[2]).reinterpret(24);
    // Where the host cannot change it, with what is no flag for the kernel to refuse.
    assertThat(k[2])
        .isBetween(device.scratch.address(), device.scratch.address() + device.scratch.byteSize());
    assertThat(at2.get(Wire.LONG, 0)).isEqualTo(O_DIRECT | 0x1_0000_0000L);
    assertThat(at2.get(Wire.LONG, 8)).isEqualTo(0700);
    assertThat(at2.get(Wire.LONG, 16)).isEqualTo(0x08);
    assertThat(k[3]).isEqualTo(24);
  }

  @Test
  void statusFlagsGoAndComeAsItsFlags() {
    int flags = Fcntl.O_NONBLOCK | Fcntl.O_DIRECT;
    assertThat(prepared(canonical, "fcntl", 3, Fcntl.F_SETFL, flags)[2]).isEqualTo(flags);
    assertThat(prepared(arm64, "fcntl", 3, Fcntl.F_SETFL, flags)[2])
        .isEqualTo(Fcntl.O_NONBLOCK | O_DIRECT);
    Row r = MarshallingTest.row("fcntl");
    prepared(arm64, "fcntl", 3, Fcntl.F_GETFL, 0);
    assertThat(arm64.finish(r, call, Fcntl.O_RDWR | O_LARGEFILE | O_DIRECT))
        .isEqualTo(Fcntl.O_RDWR | Fcntl.O_LARGEFILE | Fcntl.O_DIRECT);
    // Another command's result is none of its business.
    prepared(arm64, "fcntl", 3, Fcntl.F_GETPIPE_SZ, 0);
    assertThat(arm64.finish(r, call, 0x10000)).isEqualTo(0x10000);
  }

  @Test
  void nothingElseDiffers() {
    Random random = Seeds.random("nothingElseDiffers");
    Samples samples = new Samples(program, random);
    Set<String> differ = Set.of("openat", "openat2", "fcntl");
    int rows = 0;
    for (int round = 0; round < 4; round++) {
      for (Row r : MarshallingTest.deviceRows()) {
        if (differ.contains(r.name())) {
          continue;
        }
        program.reset(random);
        if (HostMarshaller.encode(r, samples.call(r, false), program, call) < 0) {
          continue;
        }
        long[] own = new long[6];
        long[] theirs = new long[6];
        long result = canonical.prepare(r, call, own);
        byte[] scratch = device.scratch.toArray(Wire.BYTE);
        assertThat(arm64.prepare(r, call, theirs)).as(r.name()).isEqualTo(result);
        assertThat(theirs).as(r.name()).isEqualTo(own);
        assertThat(device.scratch.toArray(Wire.BYTE)).as(r.name()).isEqualTo(scratch);
        rows++;
      }
    }
    assertThat(rows).isGreaterThan(100);
  }
}
