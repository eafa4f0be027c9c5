// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Bpf;
import dev.outboard.abi.Errno;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The seccomp filter, made from the table: trapped rows notify the hook, refused ones and numbers
 * without a row answer an errno, all others are allowed. Calls of other ABIs (i386 by {@code int
 * 0x80}, x32; 32-bit ARM) answer ENOSYS, since their numbers mean something else.
 *
 * <p>A binary search over runs of numbers with the same treatment, so that a call costs some eight
 * comparisons; the kernel finds out by itself which numbers are always allowed and then does not
 * run the filter at all.
 */
public final class SeccompProgram {
  private static final int ALLOW = Bpf.RET_ALLOW;
  private static final int NOTIFY = Bpf.RET_USER_NOTIF;
  private static final int NO_CALL = Bpf.RET_ERRNO | Errno.ENOSYS;

  /**
   * What a filter depends on besides the table.
   *
   * @param exports whether descriptors may be regular files of the device's
   * @param passFrom calls whose instruction pointer, the address behind the {@code syscall}, lies
   *     from here on are not trapped; below 4 GiB
   * @param passTo the end of that range; the same as its start for none
   * @param policy what it may deny traps, too
   * @param bpf whether the rows of {@link Route#REQUEST} trap
   */
  public record Options(
      boolean exports, long passFrom, long passTo, CallPolicy policy, boolean bpf) {
    /** Everything that the table says traps. */
    public Options(boolean exports) {
      this(exports, CallPolicy.NONE);
    }

    /** And what a policy may deny. */
    public Options(boolean exports, CallPolicy policy) {
      this(exports, 0, 0, policy, false);
    }

    /** Everything that the table says traps, but from a range of addresses. */
    public Options(boolean exports, long passFrom, long passTo) {
      this(exports, passFrom, passTo, CallPolicy.NONE, false);
    }

    /** The same with or without {@code bpf(2)}. */
    public Options withBpf(boolean asked) {
      return new Options(exports, passFrom, passTo, policy, asked);
    }

    public Options {
      if (passFrom < 0 || passTo < passFrom || passTo > 0xffff_ffffL) {
        throw new IllegalArgumentException("a range from " + passFrom + " to " + passTo);
      }
    }
  }

  private SeccompProgram() {}

  /**
   * The filter for this machine's programs as a {@code struct sock_filter[]}.
   *
   * @param arena owns the memory
   * @param options what depends on the session
   */
  public static MemorySegment build(Arena arena, Options options) {
    long[] code = code(options, Architecture.MACHINE);
    MemorySegment program = arena.allocate((long) code.length * Bpf.INSTRUCTION_BYTES, 8);
    for (int i = 0; i < code.length; i++) {
      program.setAtIndex(ValueLayout.JAVA_LONG, i, code[i]);
    }
    return program;
  }

  /**
   * The instructions, each a sock_filter as a little-endian number.
   *
   * @param machine whose numbers the programs have
   */
  static long[] code(Options options, Architecture machine) {
    int numbers = SyscallTable.NUMBERS;
    // From the last number that has a row on, none has.
    int[] starts = new int[numbers + 1];
    int runs = 0;
    for (int nr = 0; nr < numbers; nr++) {
      if (nr == 0 || !sameTreatment(row(machine, nr - 1), row(machine, nr), options)) {
        starts[runs++] = nr;
      }
    }
    long[] tree = search(machine, starts, 0, runs, options);
    long[] refuse = {instruction(Bpf.RETURN, 0, 0, NO_CALL)};
    long[] head = {
      instruction(Bpf.LOAD_WORD, 0, 0, Bpf.DATA_ARCH),
      instruction(Bpf.JUMP_EQUAL, 1, 0, audited(machine)),
      refuse[0],
      instruction(Bpf.LOAD_WORD, 0, 0, Bpf.DATA_NUMBER),
      // Also x32's numbers, which have bit 30 set.
      instruction(Bpf.JUMP_NOT_BELOW, 0, 1, numbers),
      refuse[0]
    };
    long[] code = join(head, tree);
    if (code.length > Bpf.MAX_INSTRUCTIONS) {
      throw new IllegalStateException("a filter of " + code.length + " instructions");
    }
    return code;
  }

  private static int audited(Architecture machine) {
    return switch (machine) {
      case X86_64 -> Bpf.AUDIT_ARCH_X86_64;
      case ARM64 -> Bpf.AUDIT_ARCH_AARCH64;
    };
  }

  private static @Nullable Row row(Architecture machine, int number) {
    return switch (machine) {
      case X86_64 -> SyscallTable.byX86(number);
      case ARM64 -> SyscallTable.byCanonical(number);
    };
  }

  private static boolean sameTreatment(@Nullable Row a, @Nullable Row b, Options options) {
    return Arrays.equals(treatment(a, options), treatment(b, options));
  }

  /** Code that treats the calls of one row; it ends in a return on every path. */
  private static long[] treatment(@Nullable Row r, Options options) {
    if (r == null) {
      return answer(NO_CALL);
    }
    Condition denied = options.policy().when(r.x86());
    if (denied != null && r.route() != Route.REFUSED) {
      return compile(denied, answer(NOTIFY), tableTreatment(r, options));
    }
    return tableTreatment(r, options);
  }

  private static long[] tableTreatment(Row r, Options options) {
    return switch (r.route()) {
      case HOST -> answer(ALLOW);
      case REFUSED -> answer(Bpf.RET_ERRNO | r.errno());
      case REQUEST -> options.bpf() ? notify(options) : answer(ALLOW);
      case FD, FAMILY, PATH, PROCESS ->
          compile(r.trapWhen(options.exports()), notify(options), answer(ALLOW));
    };
  }

  /** Notifies, unless the call comes from code that has taken its own look. */
  private static long[] notify(Options options) {
    if (options.passFrom() == options.passTo()) {
      return answer(NOTIFY);
    }
    return new long[] {
      instruction(Bpf.LOAD_WORD, 0, 0, Bpf.DATA_INSTRUCTION_POINTER + Integer.BYTES),
      instruction(Bpf.JUMP_EQUAL, 0, 4, 0),
      instruction(Bpf.LOAD_WORD, 0, 0, Bpf.DATA_INSTRUCTION_POINTER),
      instruction(Bpf.JUMP_NOT_BELOW, 0, 2, (int) options.passFrom()),
      instruction(Bpf.JUMP_NOT_BELOW, 1, 0, (int) options.passTo()),
      instruction(Bpf.RETURN, 0, 0, ALLOW),
      instruction(Bpf.RETURN, 0, 0, NOTIFY)
    };
  }

  /** Finds the run that the number in A belongs to. */
  private static long[] search(
      Architecture machine, int[] starts, int from, int to, Options options) {
    if (to - from == 1) {
      return treatment(row(machine, starts[from]), options);
    }
    int middle = (from + to) >>> 1;
    long[] below = search(machine, starts, from, middle, options);
    long[] above = search(machine, starts, middle, to, options);
    return branch(Bpf.JUMP_NOT_BELOW, starts[middle], above, below);
  }

  private static long[] compile(Condition c, long[] yes, long[] no) {
    return switch (c) {
      case Condition.Always always -> yes;
      case Condition.Not n -> compile(n.of(), no, yes);
      case Condition.All all -> {
        long[] code = yes;
        for (Condition each : all.of().reversed()) {
          code = compile(each, code, no);
        }
        yield code;
      }
      case Condition.Any any -> {
        long[] code = no;
        for (Condition each : any.of().reversed()) {
          code = compile(each, yes, code);
        }
        yield code;
      }
      case Condition.WordIn w -> word(w, yes, no);
    };
  }

  private static long[] word(Condition.WordIn w, long[] yes, long[] no) {
    int at = Bpf.DATA_ARGS + w.arg() * Long.BYTES + (w.high() ? Integer.BYTES : 0);
    long[] load = {instruction(Bpf.LOAD_WORD, 0, 0, at)};
    if (w.mask() != -1) {
      load = join(load, new long[] {instruction(Bpf.AND, 0, 0, w.mask())});
    }
    List<Integer> values = w.values();
    int last = values.size() - 1;
    long[] tests = branch(Bpf.JUMP_EQUAL, values.get(last), yes, no);
    for (int i = last - 1; i >= 0; i--) {
      // Every comparison leads to the one copy of yes, behind all of them.
      int toYes = tests.length - yes.length;
      tests = join(new long[] {instruction(Bpf.JUMP_EQUAL, toYes, 0, values.get(i))}, tests);
    }
    return join(load, tests);
  }

  /** {@code if (A op k) yes; else no}, with {@code no} first. */
  private static long[] branch(int op, int k, long[] yes, long[] no) {
    return no.length <= 255
        ? join(new long[] {instruction(op, no.length, 0, k)}, no, yes)
        : join(
            new long[] {instruction(op, 0, 1, k), instruction(Bpf.JUMP, 0, 0, no.length)}, no, yes);
  }

  private static long[] answer(int action) {
    return new long[] {instruction(Bpf.RETURN, 0, 0, action)};
  }

  private static long instruction(int code, int ifTrue, int ifFalse, int k) {
    if (ifTrue > 255 || ifFalse > 255) {
      throw new IllegalStateException("a jump of " + Math.max(ifTrue, ifFalse));
    }
    return code | (long) ifTrue << 16 | (long) ifFalse << 24 | (long) k << 32;
  }

  private static long[] join(long[]... parts) {
    int length = 0;
    for (long[] p : parts) {
      length += p.length;
    }
    long[] whole = new long[length];
    int at = 0;
    for (long[] p : parts) {
      System.arraycopy(p, 0, whole, at, p.length);
      at += p.length;
    }
    return whole;
  }
}
