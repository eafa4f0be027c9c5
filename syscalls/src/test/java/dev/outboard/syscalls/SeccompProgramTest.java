// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Bpf;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Sched;
import dev.outboard.abi.Seccomp;
import dev.outboard.abi.Socket;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.Random;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class SeccompProgramTest {
  private static final Architecture X86_64 = Architecture.X86_64;

  private static final long[] CODE = SeccompProgram.code(new SeccompProgram.Options(false), X86_64);
  private static final long[] WITH_EXPORTS =
      SeccompProgram.code(new SeccompProgram.Options(true), X86_64);
  private static final int ENOSYS = Bpf.RET_ERRNO | Errno.ENOSYS;

  /** Runs the program as the kernel would; jumps go forward only, so it ends. */
  private static int run(int arch, int number, long... args) {
    return run(CODE, arch, number, args);
  }

  private static int run(long[] code, int arch, int number, long... args) {
    return run(0x7f00_0000_1234L, code, arch, number, args);
  }

  private static int run(long from, long[] code, int arch, int number, long... args) {
    int a = 0;
    for (int pc = 0; ; pc++) {
      long i = code[pc];
      int k = (int) (i >>> 32);
      int ifTrue = (int) (i >>> 16) & 0xff;
      int ifFalse = (int) (i >>> 24) & 0xff;
      switch ((int) i & 0xffff) {
        case Bpf.LOAD_WORD -> a = word(from, k, arch, number, args);
        case Bpf.AND -> a &= k;
        case Bpf.JUMP -> pc += k;
        case Bpf.JUMP_EQUAL -> pc += a == k ? ifTrue : ifFalse;
        case Bpf.JUMP_NOT_BELOW -> pc += Integer.compareUnsigned(a, k) >= 0 ? ifTrue : ifFalse;
        case Bpf.RETURN -> {
          return k;
        }
        default -> throw new AssertionError("instruction " + Long.toHexString(i));
      }
    }
  }

  private static int word(long from, int offset, int arch, int number, long[] args) {
    if (offset == Bpf.DATA_NUMBER) {
      return number;
    }
    if (offset == Bpf.DATA_ARCH) {
      return arch;
    }
    if (offset == Bpf.DATA_INSTRUCTION_POINTER) {
      return (int) from;
    }
    if (offset == Bpf.DATA_INSTRUCTION_POINTER + 4) {
      return (int) (from >>> 32);
    }
    assertThat(offset).isBetween(Bpf.DATA_ARGS, Bpf.DATA_ARGS + 44).matches(o -> o % 4 == 0);
    int i = (offset - Bpf.DATA_ARGS) / 8;
    long arg = i < args.length ? args[i] : 0;
    return (int) (offset % 8 == 0 ? arg : arg >>> 32);
  }

  private static int run(String name, long... args) {
    Row r = Objects.requireNonNull(SyscallTable.byName(name), name);
    return run(Bpf.AUDIT_ARCH_X86_64, r.x86(), args);
  }

  private static int expected(int number, long[] args, boolean exports) {
    return expected(SyscallTable.byX86(number), args, exports);
  }

  private static int expected(@Nullable Row r, long[] args, boolean exports) {
    if (r == null) {
      return ENOSYS;
    }
    if (r.route() == Route.REFUSED) {
      return Bpf.RET_ERRNO | r.errno();
    }
    if (r.route() == Route.REQUEST) {
      return Bpf.RET_ALLOW;
    }
    return r.trapped() && r.trapWhen(exports).test(args) ? Bpf.RET_USER_NOTIF : Bpf.RET_ALLOW;
  }

  @Test
  void treatsEveryNumberAsItsRowSays() {
    treatsNumbers(Bpf.AUDIT_ARCH_X86_64, CODE, WITH_EXPORTS, SyscallTable::byX86);
  }

  /** By arm64's numbers: what a call is does not depend on the machine. */
  @Test
  void treatsArm64sNumbersAsTheirRowsSay() {
    treatsNumbers(
        Bpf.AUDIT_ARCH_AARCH64,
        SeccompProgram.code(new SeccompProgram.Options(false), Architecture.ARM64),
        SeccompProgram.code(new SeccompProgram.Options(true), Architecture.ARM64),
        SyscallTable::byCanonical);
  }

  @Test
  void aFilterOfOneMachineRefusesCallsOfAnother() {
    long[] arm64 = SeccompProgram.code(new SeccompProgram.Options(false), Architecture.ARM64);
    for (int number = 0; number < 1200; number++) {
      assertThat(run(arm64, Bpf.AUDIT_ARCH_X86_64, number)).isEqualTo(ENOSYS);
      assertThat(run(Bpf.AUDIT_ARCH_AARCH64, number)).isEqualTo(ENOSYS);
    }
  }

  /** A call of the gate is trapped on arm64, too, and one from the text before it is not. */
  @Test
  void arm64sCallsFromOneRangePass() {
    long[] code =
        SeccompProgram.code(
            new SeccompProgram.Options(false, 0x0514_0000L, 0x0514_7004L), Architecture.ARM64);
    int read = SyscallTable.row("read").number(Architecture.ARM64);
    // What is seen is the address behind the `svc`.
    assertThat(run(0x0514_7000L, code, Bpf.AUDIT_ARCH_AARCH64, read)).isEqualTo(Bpf.RET_ALLOW);
    assertThat(run(0x0514_7004L, code, Bpf.AUDIT_ARCH_AARCH64, read)).isEqualTo(Bpf.RET_USER_NOTIF);
  }

  private static void treatsNumbers(
      int arch, long[] code, long[] withExports, IntFunction<@Nullable Row> rows) {
    Random random = Seeds.random("treatsEveryNumberAsItsRowSays");
    long[] interesting = {
      0,
      1,
      2,
      3,
      4,
      10,
      12,
      16,
      17,
      40,
      1030,
      -1,
      0xffffffffL,
      0x5411,
      0x541b,
      0x5421,
      0x5401,
      0x8901,
      0x8912,
      0x8b01,
      0x10000,
      0x400,
      0x10000000,
      1L << 32,
      0x80000,
      0x40,
      -1L << 32
    };
    for (int number = 0; number < 1200; number++) {
      for (int n = 0; n < 200; n++) {
        long[] args = new long[6];
        for (int i = 0; i < 6; i++) {
          args[i] =
              random.nextInt(8) == 0
                  ? random.nextLong()
                  : interesting[random.nextInt(interesting.length)];
        }
        assertThat(run(code, arch, number, args))
            .as("%d %s", number, args)
            .isEqualTo(expected(rows.apply(number), args, false));
        assertThat(run(withExports, arch, number, args))
            .as("%d %s", number, args)
            .isEqualTo(expected(rows.apply(number), args, true));
      }
    }
  }

  @Test
  void callsFromOneRangePassUnlessNobodyRunsThem() {
    long[] code =
        SeccompProgram.code(new SeccompProgram.Options(true, 0x1000, 0x8100_0000L), X86_64);
    for (Row r : SyscallTable.rows()) {
      for (long from : new long[] {0x1000, 0x1001, 0x7fff_ffffL, 0x80ff_ffffL}) {
        int wanted = r.route() == Route.REFUSED ? Bpf.RET_ERRNO | r.errno() : Bpf.RET_ALLOW;
        assertThat(run(from, code, Bpf.AUDIT_ARCH_X86_64, r.x86())).isEqualTo(wanted);
      }
      for (long from : new long[] {0, 0xfff, 0x8100_0000L, 0x1_0000_1000L, -1}) {
        assertThat(run(from, code, Bpf.AUDIT_ARCH_X86_64, r.x86()))
            .isEqualTo(expected(r.x86(), new long[6], true));
      }
    }
  }

  @Test
  void numbersWithoutACallAnswerEnosys() {
    for (int number : new int[] {337, 423, 511, 512, 100_000, -1, Integer.MIN_VALUE}) {
      assertThat(run(Bpf.AUDIT_ARCH_X86_64, number)).as("%d", number).isEqualTo(ENOSYS);
    }
  }

  @Test
  void otherAbisAnswerEnosys() {
    for (int number = 0; number < 600; number++) {
      assertThat(run(Bpf.AUDIT_ARCH_I386, number)).isEqualTo(ENOSYS);
      assertThat(run(Bpf.AUDIT_ARCH_X86_64, number | Bpf.X32_BIT)).isEqualTo(ENOSYS);
    }
  }

  @Test
  void trapsWhatMayConcernTheDeviceAndNothingElse() {
    int trap = Bpf.RET_USER_NOTIF;
    int allow = Bpf.RET_ALLOW;
    assertThat(run("socket", Socket.AF_INET, 1, 0)).isEqualTo(trap);
    assertThat(run("socket", Socket.AF_UNIX, 1, 0)).isEqualTo(allow);
    assertThat(run("socket", Socket.AF_VSOCK, 1, 0)).isEqualTo(allow);
    assertThat(run("socket", Socket.AF_NETLINK, 3, Socket.NETLINK_ROUTE)).isEqualTo(trap);
    assertThat(run("socket", Socket.AF_NETLINK, 3, 15)).isEqualTo(allow);
    assertThat(run("socket", 9999, 1, 0)).isEqualTo(trap);
    // The upper half of an int argument does not count: the kernel cuts it off.
    assertThat(run("socket", 0xdead_0000_0000L | Socket.AF_UNIX, 1, 0)).isEqualTo(allow);
    int thread = Sched.CLONE_VM | Sched.CLONE_THREAD;
    assertThat(run("clone", thread | Sched.CLONE_FILES)).isEqualTo(allow);
    assertThat(run("clone", thread)).as("a descriptor table of its own").isEqualTo(trap);
    assertThat(run("prctl", 15)).isEqualTo(allow);
    assertThat(run("prctl", Seccomp.PR_SET_SECCOMP, 2)).isEqualTo(trap);
    assertThat(run("seccomp", Seccomp.SET_MODE_FILTER)).isEqualTo(trap);
    assertThat(run("seccomp", Seccomp.GET_NOTIF_SIZES)).isEqualTo(allow);
    assertThat(run("clone", Sched.CLONE_VM)).isEqualTo(trap);
    assertThat(run("clone3", 0, 88)).isEqualTo(trap);
    assertThat(run("poll", 0, 0, 1000)).isEqualTo(allow);
    assertThat(run("poll", 1, 1, 1000)).isEqualTo(trap);
    assertThat(run("ioctl", 1, 0x5401)).as("TCGETS").isEqualTo(allow);
    assertThat(run("ioctl", 1, Ioctl.FIONREAD)).isEqualTo(trap);
    assertThat(run("ioctl", 1, 0x8912)).as("SIOCGIFCONF").isEqualTo(trap);
    assertThat(run("ioctl", 1, 0x8B01)).as("SIOCGIWNAME").isEqualTo(trap);
    assertThat(run("ioctl", 1, Ioctl.FIOSETOWN)).isEqualTo(trap);
    assertThat(run("ioctl", 1, Ioctl.FIOASYNC)).isEqualTo(trap);
    assertThat(run("ioctl", 1, Ioctl.FIOGETOWN)).isEqualTo(trap);
    assertThat(run("fcntl", 3, Fcntl.F_SETOWN, 1)).isEqualTo(trap);
    assertThat(run("fcntl", 3, Fcntl.F_SETOWN_EX, 1)).isEqualTo(trap);
    assertThat(run("fcntl", 3, Fcntl.F_SETSIG, 40)).isEqualTo(allow);
    assertThat(run("fcntl", 3, Fcntl.F_GETFD)).isEqualTo(allow);
    assertThat(run("fcntl", 3, Fcntl.F_SETFL, Fcntl.O_NONBLOCK)).isEqualTo(trap);
    assertThat(run("openat", -100, 1, Fcntl.O_RDONLY | Fcntl.O_CLOEXEC)).isEqualTo(trap);
    assertThat(run("fcntl", 3, Fcntl.F_SETLK)).isEqualTo(allow);
    assertThat(run("pread64")).isEqualTo(allow);
    assertThat(run("preadv2", 3, 0, 0, -1)).isEqualTo(trap);
    assertThat(run("preadv2", 3, 0, 0, 0xffffffffL)).isEqualTo(allow);
    assertThat(run("unshare", Sched.CLONE_NEWNS)).isEqualTo(allow);
    assertThat(run("unshare", Sched.CLONE_FILES)).isEqualTo(trap);
    assertThat(run("unshare", Sched.CLONE_NEWNS | Sched.CLONE_NEWNET)).isEqualTo(trap);
    assertThat(run("clone", thread | Sched.CLONE_FILES | Sched.CLONE_NEWNET)).isEqualTo(trap);
    assertThat(run("io_uring_setup")).isEqualTo(trap);
    assertThat(run("io_setup")).isEqualTo(trap);
    assertThat(run("io_uring_enter")).isEqualTo(ENOSYS);
    assertThat(run("io_submit")).isEqualTo(ENOSYS);
    assertThat(run("mmap", 0, 4096, 3, 1, 3)).isEqualTo(trap);
    assertThat(run("mmap", 0, 4096, 1, 1, 3)).isEqualTo(allow);
    assertThat(run("mmap", 0, 4096, 3, 2, 3)).isEqualTo(allow);
    assertThat(run("mmap", 0, 4096, 3, 0x21, -1)).isEqualTo(allow);
    for (String untouched : new String[] {"futex", "mmap", "munmap", "getpid", "exit_group"}) {
      assertThat(run(untouched)).as(untouched).isEqualTo(allow);
    }
    for (String always :
        new String[] {
          "read",
          "write",
          "close",
          "close_range",
          "dup2",
          "execve",
          "fork",
          "vfork",
          "setuid",
          "capset",
          "recvmsg",
          "sendmmsg",
          "epoll_wait",
          "pidfd_getfd",
          "sendfile",
          "splice"
        }) {
      assertThat(run(always)).as(always).isEqualTo(trap);
    }
  }

  @Test
  void withExportsItTrapsWhatMayBeARegularFileOfTheDevice() {
    int trap = Bpf.RET_USER_NOTIF;
    int allow = Bpf.RET_ALLOW;
    for (String name :
        new String[] {
          "pread64", "pwritev", "ftruncate", "fsync", "flock", "copy_file_range", "tee", "cachestat"
        }) {
      int nr = MarshallingTest.row(name).x86();
      assertThat(run(CODE, Bpf.AUDIT_ARCH_X86_64, nr)).as(name).isEqualTo(allow);
      assertThat(run(WITH_EXPORTS, Bpf.AUDIT_ARCH_X86_64, nr)).as(name).isEqualTo(trap);
    }
    int mmap = MarshallingTest.row("mmap").x86();
    int arch = Bpf.AUDIT_ARCH_X86_64;
    assertThat(run(WITH_EXPORTS, arch, mmap, 0, 4096, 1, 0x22, -1)).isEqualTo(allow);
    assertThat(run(WITH_EXPORTS, arch, mmap, 0, 4096, 1, 2, 3)).isEqualTo(trap);
    int fcntl = MarshallingTest.row("fcntl").x86();
    assertThat(run(WITH_EXPORTS, arch, fcntl, 3, Fcntl.F_GETFD)).isEqualTo(allow);
    assertThat(run(WITH_EXPORTS, arch, fcntl, 3, Fcntl.F_SETLK)).isEqualTo(trap);
  }

  @Test
  void isShortAndItsJumpsStayInside() {
    assertThat(CODE.length).isLessThan(400);
    assertThat(WITH_EXPORTS.length).isLessThan(500);
    for (long[] code : new long[][] {CODE, WITH_EXPORTS}) {
      jumpsStayInside(code);
    }
  }

  private static void jumpsStayInside(long[] code) {
    for (int pc = 0; pc < code.length; pc++) {
      long i = code[pc];
      int reach =
          switch ((int) i & 0xffff) {
            case Bpf.JUMP -> (int) (i >>> 32);
            case Bpf.JUMP_EQUAL, Bpf.JUMP_NOT_BELOW ->
                Math.max((int) (i >>> 16) & 0xff, (int) (i >>> 24) & 0xff);
            default -> 0;
          };
      assertThat(pc + 1 + reach).isLessThanOrEqualTo(code.length);
    }
    assertThat((int) code[code.length - 1] & 0xffff).isEqualTo(Bpf.RETURN);
  }

  @Test
  void aCallTakesFewSteps() {
    // Seven or so comparisons for the number, a few for arguments.
    for (int number = 0; number < SyscallTable.NUMBERS; number++) {
      assertThat(steps(number)).as("%d", number).isLessThan(24);
    }
  }

  private static int steps(int number) {
    int steps = 0;
    int a = 0;
    for (int pc = 0; ; pc++, steps++) {
      long i = CODE[pc];
      int k = (int) (i >>> 32);
      switch ((int) i & 0xffff) {
        case Bpf.LOAD_WORD -> a = word(0, k, Bpf.AUDIT_ARCH_X86_64, number, new long[6]);
        case Bpf.AND -> a &= k;
        case Bpf.JUMP -> pc += k;
        case Bpf.JUMP_EQUAL -> pc += (int) (a == k ? i >>> 16 : i >>> 24) & 0xff;
        case Bpf.JUMP_NOT_BELOW ->
            pc += (int) (Integer.compareUnsigned(a, k) >= 0 ? i >>> 16 : i >>> 24) & 0xff;
        default -> {
          return steps;
        }
      }
    }
  }

  @Test
  void memoryHoldsTheInstructions() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment program = SeccompProgram.build(arena, new SeccompProgram.Options(false));
      assertThat(program.byteSize()).isEqualTo(CODE.length * 8L);
      for (int i = 0; i < CODE.length; i++) {
        assertThat(program.getAtIndex(ValueLayout.JAVA_LONG, i)).isEqualTo(CODE[i]);
      }
    }
  }
}
