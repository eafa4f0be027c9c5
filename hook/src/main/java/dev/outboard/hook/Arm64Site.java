// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Comparator;
import java.util.List;

/**
 * The code of a place in an arm64 program that makes a system call: how it is patched. What {@link
 * PatchSite} is for x86-64; {@code docs/adr/0069-the-shim-on-arm64.md} has the argument.
 *
 * <p>A place is one instruction, {@code svc #0}, and so is what replaces it, {@code b}. The
 * architecture lets a processor meet either while the one is being replaced by the other (Arm ARM,
 * DDI 0487, B2.2.5 "Concurrent modification and execution of instructions"), if they are written by
 * one aligned store; so no thread has to be stopped. The {@code b} leads to a <em>trampoline</em>,
 * one for each place, in an <em>island</em>: memory of the program's near the text, where {@code b}
 * reaches.
 *
 * <pre>
 *    0  stp x16, x30, [sp, #-16]!
 *    4  ldr x16, 24
 *    8  blr x16
 *   12  ldp x16, x30, [sp], #16
 *   16  b   behind the place
 *   20  nop
 *   24  the shim's entry
 * </pre>
 *
 * <p>The way back is a {@code b}, too: what goes through a register would have to lead to a landing
 * pad, in a program that is checked for those (BTI). The number is not looked at: it is in x8 and
 * tells the shim what to do, whoever comes to the place with it.
 */
final class Arm64Site {
  static final int INSTRUCTION_BYTES = 4;
  static final int TRAMPOLINE_BYTES = 32;

  /** How far {@code b} leads: so many bytes back, and less than that ahead. */
  static final long REACH = 128L << 20;

  /** {@code svc #0}: a system call. */
  static final int CALL = 0xd400_0001;

  /** What the page of kinds says of a number (addresses.h); 0: it traps. */
  static final int KIND_PASS = 1;

  static final int KIND_CLOSE = 2;
  static final int KIND_ASK = 4;

  private static final int B = 0x1400_0000;
  private static final int B_MASK = 0xfc00_0000;
  private static final int B_DISTANCE = 0x03ff_ffff;
  private static final int PUSH = 0xa9bf_7bf0;
  private static final int LOAD_ENTRY = 0x5800_00b0;
  private static final int CALL_ENTRY = 0xd63f_0200;
  private static final int POP = 0xa8c1_7bf0;
  private static final int NOP = 0xd503_201f;
  private static final int POP_AT = 12;
  private static final int BRANCH_AT = 16;
  private static final int ENTRY_AT = 24;

  /** Nothing is mapped below: {@code vm.mmap_min_addr} of most machines. */
  private static final long LEAST_ADDRESS = 64L << 10;

  /** Memory that is taken, {@code end} not included; addresses of arm64 are positive longs. */
  record Range(long start, long end) {}

  private Arm64Site() {}

  /** Whether a {@code b} at one address leads to another. */
  static boolean reaches(long from, long to) {
    long distance = to - from;
    return (from | to) % INSTRUCTION_BYTES == 0 && distance >= -REACH && distance < REACH;
  }

  /**
   * {@code b to}, at {@code from}.
   *
   * @throws IllegalArgumentException if it does not reach
   */
  static int branch(long from, long to) {
    if (!reaches(from, to)) {
      throw new IllegalArgumentException(
          "no branch from " + Long.toHexString(from) + " to " + Long.toHexString(to));
    }
    return B | ((int) ((to - from) >> 2) & B_DISTANCE);
  }

  /** Where a {@code b} at {@code from} leads; -1 if it is another instruction. */
  static long aim(long from, int instruction) {
    if ((instruction & B_MASK) != B) {
      return -1;
    }
    long words = (long) instruction << 38 >> 38;
    return from + words * INSTRUCTION_BYTES;
  }

  /**
   * What leads a place to its trampoline.
   *
   * @param instruction what stands before {@code back}
   * @param back the trapped call's return address
   * @param trampoline where {@link #trampoline} is
   * @return one write of one aligned word, to be made as one store; none if the place has no {@code
   *     svc #0}, or the trampoline is too far
   */
  static List<PatchSite.Write> patch(int instruction, long back, long trampoline) {
    long place = back - INSTRUCTION_BYTES;
    return instruction == CALL && reaches(place, trampoline)
        ? List.of(new PatchSite.Write(place, word(branch(place, trampoline))))
        : List.of();
  }

  private static byte[] word(int instruction) {
    return ByteBuffer.allocate(INSTRUCTION_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt(instruction)
        .array();
  }

  /**
   * The trampoline of a place.
   *
   * @param at its address
   * @param entry the shim's, anywhere
   * @param back the trapped call's return address
   * @throws IllegalArgumentException if {@code back} is too far from {@code at}
   */
  static byte[] trampoline(long at, long entry, long back) {
    return ByteBuffer.allocate(TRAMPOLINE_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt(PUSH)
        .putInt(LOAD_ENTRY)
        .putInt(CALL_ENTRY)
        .putInt(POP)
        .putInt(branch(at + BRANCH_AT, back))
        .putInt(NOP)
        .putLong(entry)
        .array();
  }

  /**
   * The return address of the place for which a thread is in the shim.
   *
   * @param link the thread's x30 where the shim's own {@code svc} traps
   * @param code the {@link #TRAMPOLINE_BYTES} that hold it, from {@link #holder} on
   * @param entry the shim's
   * @return -1 if that is no trampoline of ours: a program can go to the gate with any x30
   */
  static long back(long link, byte[] code, long entry) {
    long at = holder(link);
    ByteBuffer b = ByteBuffer.wrap(code).order(ByteOrder.LITTLE_ENDIAN);
    boolean ours =
        b.getInt(0) == PUSH
            && b.getInt(4) == LOAD_ENTRY
            && b.getInt(8) == CALL_ENTRY
            && b.getInt(POP_AT) == POP
            && b.getLong(ENTRY_AT) == entry;
    return ours ? aim(at + BRANCH_AT, b.getInt(BRANCH_AT)) : -1;
  }

  /** Where the trampoline begins to which {@code link} returns. */
  static long holder(long link) {
    return link - POP_AT;
  }

  /** What the page of kinds says of a number whose call is {@code kind}. */
  static int kind(PatchSite.Kind kind) {
    return switch (kind) {
      case PASS -> KIND_PASS;
      case CLOSE -> KIND_CLOSE;
      case ASK -> KIND_ASK;
    };
  }

  /**
   * Where an island for a part of the text can be: free memory from which, and to which, {@code b}
   * reaches, wherever in the text and in the island it stands.
   *
   * @param text the part, multiples of {@code page}
   * @param used all that is mapped in the process
   * @param bytes how long the island is, a multiple of {@code page}
   * @param page the machine's page size in bytes
   * @return the address nearest to the text; -1 if there is none
   */
  static long island(Range text, List<Range> used, long bytes, long page) {
    List<Range> sorted = used.stream().sorted(Comparator.comparingLong(Range::start)).toList();
    long best = -1;
    long free = LEAST_ADDRESS;
    for (int i = 0; i <= sorted.size(); i++) {
      long end = i < sorted.size() ? sorted.get(i).start() & -page : Long.MAX_VALUE & -page;
      long start = (free + page - 1) & -page;
      for (long at : new long[] {start, end - bytes}) {
        boolean near = at + bytes - text.start() <= REACH && text.end() - at <= REACH;
        if (at >= start && at + bytes <= end && near && isNearer(text, at, best)) {
          best = at;
        }
      }
      if (i < sorted.size()) {
        free = Math.max(free, sorted.get(i).end());
      }
    }
    return best;
  }

  private static boolean isNearer(Range text, long at, long best) {
    return best < 0 || Math.abs(at - text.start()) < Math.abs(best - text.start());
  }
}
