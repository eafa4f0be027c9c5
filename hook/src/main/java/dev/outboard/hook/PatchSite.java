// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;

/**
 * The code of a place in a program that makes a system call: whether it can be patched, and how.
 * ADRs 0025, 0029 and 0056 have the argument.
 *
 * <p>Four shapes can, and no other. Every instruction of theirs but the first stays where it is, so
 * that a thread which stands before one, is restarted there by a signal, or jumps there with
 * another number, finds what it expects.
 *
 * <ul>
 *   <li>{@code mov $number,%eax; syscall}: {@code b8 n n n n 0f 05} becomes {@code jmp
 *       *0x050fxxxx}, {@code ff 24 25 x x 0f 05}. The address's upper half <em>is</em> the {@code
 *       syscall}.
 *   <li>{@code xor %eax,%eax; syscall}, of glibc's {@code read}: the {@code xor} becomes a short
 *       jump into the padding behind the function's {@code ret}, which gets the {@code jmp}.
 *   <li>{@code mov n(%rsp),%edi; xor %eax,%eax; syscall}, of the same function where a thread can
 *       be cancelled: {@code 8b 7c 24 n 31 c0 0f 05} becomes {@code nop; jmp *0x050fc031}, {@code
 *       90 ff 24 25 31 c0 0f 05}. The address <em>is</em> the {@code xor} and the {@code syscall};
 *       so there is one pointer for all places of this shape, and an image has one such place.
 *   <li>{@code mov %rdi,%rsi; mov $AT_FDCWD,%edi; syscall}, of glibc's {@code open} where no thread
 *       can be cancelled, and the dynamic linker's: the second {@code mov} becomes the {@code jmp},
 *       as in the first shape. The number was loaded before, and may be another at another time:
 *       the stub compares it.
 * </ul>
 */
final class PatchSite {
  /** What is looked at: so many bytes before the trapped call's return address and behind it. */
  static final int BEFORE_BYTES = 26;

  static final int AFTER_BYTES = 24;

  private static final int MOV_BYTES = 7;
  private static final int XOR_BYTES = 4;
  private static final int JMP_BYTES = 7;

  private static final int MOV_EAX = 0xb8;
  private static final int SYSCALL = 0x050f;
  private static final int XOR_EAX = 0xc031;
  private static final int CMP_EAX = 0x3d;
  private static final int JE = 0x74;

  /** {@link #XOR_EAX} and {@link #SYSCALL}, read as an address. */
  static final long XOR_POINTER = 0x050f_c031L;

  /**
   * {@code call; mov n(%rsp),%rdx; mov n(%rsp),%rsi; mov %eax,%r8d; mov n(%rsp),%edi; xor
   * %eax,%eax; syscall}; -1 for what is free.
   */
  private static final int[] RELOADS = {
    0xe8, -1, -1, -1, -1, 0x48, 0x8b, 0x54, 0x24, -1, 0x48, 0x8b, 0x74, 0x24, -1, 0x41, 0x89, 0xc0,
    0x8b, 0x7c, 0x24, -1, 0x31, 0xc0, 0x0f, 0x05
  };

  private static final int RELOAD_BYTES = 4;

  /** {@code mov %rdi,%rsi; mov $AT_FDCWD,%edi; syscall}. */
  private static final byte[] OF_DIRECTORY = {
    0x48, (byte) 0x89, (byte) 0xfe, (byte) 0xbf, (byte) 0x9c, -1, -1, -1, 0x0f, 0x05
  };

  private static final int MOV_EDI = 0xbf;

  /** The head of a stub that has the fourth shape's first instruction. */
  private static final int DIRECTORY_HEAD_BYTES = 18;

  /** How many of {@link #RETURNS} are behind that shape, too. */
  private static final int TESTS_BYTES = 7;

  /** {@code cmp $-4096,%rax; ja …; ret} behind the {@code syscall}; the jump's distance is free. */
  private static final byte[] RETURNS = {
    0x48, 0x3d, 0x00, (byte) 0xf0, (byte) 0xff, (byte) 0xff, 0x77, 0, (byte) 0xc3
  };

  private static final int FREE = 7;

  /** The longest padding instruction of the assembler; shorter ones are its last bytes. */
  private static final byte[] PADDING = {0x66, 0x66, 0x2e, 0x0f, 0x1f, (byte) 0x84, 0, 0, 0, 0, 0};

  private static final byte[] PADDING_OF_SEVEN = {0x0f, 0x1f, (byte) 0x80, 0, 0, 0, 0};
  private static final int ALIGNMENT = 16;

  /** What a stub's call is. */
  enum Kind {
    /** Lets a call on a descriptor of the host pass. */
    PASS,
    /**
     * The same for {@code close}, also of a file of the device if nobody can tell when that ends;
     * it makes the number's meaning unknown.
     */
    CLOSE,
    /** Always asks the shim, for a call that its first descriptor says too little of. */
    ASK
  }

  /** Bytes to be written somewhere. */
  static final class Write {
    private final long address;
    private final byte[] bytes;

    Write(long address, byte[] bytes) {
      this.address = address;
      this.bytes = bytes;
    }

    long address() {
      return address;
    }

    byte[] bytes() {
      return bytes;
    }

    /** Writes to a copy of the memory that begins at {@code start}. */
    void to(MemorySegment copy, long start) {
      MemorySegment.copy(bytes, 0, copy, ValueLayout.JAVA_BYTE, address - start, bytes.length);
    }
  }

  private static final int MOV_R11 = 0x41bb;

  /** Where a stub has its {@code syscall} that always asks. */
  private static final int STUB_PASS = 96;

  private static final int STUB_TRAP = 112;
  private static final int STUB_BACK = 120;

  // Lengths of a stub's instructions.
  private static final int COUNT_IN_BYTES = 12;
  private static final int CLEAR_BYTES = 8;
  private static final int COUNT_OUT_BYTES = 2 + COUNT_IN_BYTES;
  private static final int JUMP_BACK_BYTES = 6;

  private PatchSite() {}

  /**
   * What leads a site through a pointer.
   *
   * @param code {@link #BEFORE_BYTES} up to the return address, {@link #AFTER_BYTES} from there on
   * @param number the trapped call's
   * @param back its return address
   * @param index which pointer; {@link #isReload} has its own
   * @return the writes in their order; none if the site is not certain to have one of the shapes
   */
  static List<Write> patch(byte[] code, int number, long back, int index) {
    if (isMov(code, number) || isOfDirectory(code)) {
      return List.of(new Write(back - MOV_BYTES, Arrays.copyOf(jump(index), MOV_BYTES - 2)));
    }
    if (isReload(code, number)) {
      byte[] nopAndJump = {(byte) 0x90, (byte) 0xff, 0x24, 0x25};
      return List.of(new Write(back - XOR_BYTES - RELOAD_BYTES, nopAndJump));
    }
    int padding = number == 0 ? paddingBehind(code, back) : -1;
    if (padding < 0) {
      return List.of();
    }
    int distance = XOR_BYTES - 2 + padding;
    return List.of(
        new Write(back + padding, jump(index)),
        new Write(back - XOR_BYTES, new byte[] {(byte) 0xeb, (byte) distance}));
  }

  /** {@code jmp *pointer}; whose last two bytes are those of {@code syscall}. */
  private static byte[] jump(int index) {
    int pointer = (int) (ShimLayout.BASE + (long) index * ShimLayout.POINTER_BYTES);
    return ByteBuffer.allocate(JMP_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put((byte) 0xff)
        .put((byte) 0x24)
        .put((byte) 0x25)
        .putInt(pointer)
        .array();
  }

  /**
   * Whether the code is certainly a {@code mov} of the number and a {@code syscall}.
   *
   * <p>That {@code 0f 05} is an instruction is known: it trapped. The five bytes before it could
   * also be the end of a longer one, whose immediate or displacement is the number by chance: a
   * {@code mov} with a prefix (another register, another width), or an instruction with an 8-bit
   * displacement of b8 and an immediate. Whatever could be one of these is left alone.
   */
  private static boolean isMov(byte[] code, int number) {
    ByteBuffer b = ByteBuffer.wrap(code).order(ByteOrder.LITTLE_ENDIAN);
    int mov = BEFORE_BYTES - MOV_BYTES;
    return (code[mov] & 0xff) == MOV_EAX
        && b.getInt(mov + 1) == number
        && (b.getShort(BEFORE_BYTES - 2) & 0xffff) == SYSCALL
        && !endsInPrefix(code[mov - 1] & 0xff)
        && !takesDisplacement(code[mov - 2] & 0xff);
  }

  /**
   * Whether it is the fourth shape. Its bytes have no other meaning, wherever instructions begin
   * before them, but as a constant of 64 bits: {@code fe bf} and {@code ff ff} are none, and what
   * takes all of them for operands goes on into the {@code 0f 05}, which is an instruction.
   */
  private static boolean isOfDirectory(byte[] code) {
    int from = BEFORE_BYTES - OF_DIRECTORY.length;
    boolean constant = (code[from - 2] & 0xf8) == 0x48 && (code[from - 1] & 0xf8) == 0xb8;
    return !constant
        && Arrays.equals(code, from, BEFORE_BYTES, OF_DIRECTORY, 0, OF_DIRECTORY.length);
  }

  /** Whether it is the third shape. */
  static boolean isReload(byte[] code, int number) {
    if (number != 0) {
      return false;
    }
    for (int i = 0; i < RELOADS.length; i++) {
      if (RELOADS[i] >= 0 && (code[BEFORE_BYTES - RELOADS.length + i] & 0xff) != RELOADS[i]) {
        return false;
      }
    }
    return Arrays.equals(code, BEFORE_BYTES, BEFORE_BYTES + TESTS_BYTES, RETURNS, 0, TESTS_BYTES);
  }

  /** What a stub begins with: the instruction that the patch has replaced, and the number. */
  private static void begin(ByteBuffer b, byte[] code, int number) {
    if (isOfDirectory(code)) {
      b.put(code, BEFORE_BYTES - MOV_BYTES, MOV_BYTES - 2); // mov $AT_FDCWD,%edi
      put(b, CMP_EAX).putInt(number); // cmp $number,%eax
      put(b, 0x74, JUMP_BACK_BYTES); // je over
      put(b, 0xff, 0x25).putInt(STUB_TRAP - (b.position() + 4)); // jmp *trap
      return;
    }
    if (isReload(code, number)) {
      b.put(code, BEFORE_BYTES - XOR_BYTES - RELOAD_BYTES, RELOAD_BYTES);
    }
    put(b, MOV_EAX).putInt(number); // mov $number,%eax
  }

  /**
   * Where the padding lies that nothing ever runs through, from the return address on; or -1.
   *
   * <p>Everything must be as in glibc: {@code je further; xor; syscall; cmp; ja error; ret}, then
   * one padding instruction up to a multiple of 16, and there the {@code je} leads. So instructions
   * begin where it is assumed, and the padding is behind a {@code ret} and before a jump's aim.
   */
  private static int paddingBehind(byte[] code, long back) {
    ByteBuffer b = ByteBuffer.wrap(code).order(ByteOrder.LITTLE_ENDIAN);
    int xor = BEFORE_BYTES - XOR_BYTES;
    if ((b.getShort(xor) & 0xffff) != XOR_EAX
        || (b.getShort(xor + 2) & 0xffff) != SYSCALL
        || (code[xor - 2] & 0xff) != JE) {
      return -1;
    }
    for (int i = 0; i < RETURNS.length; i++) {
      if (i != FREE && code[BEFORE_BYTES + i] != RETURNS[i]) {
        return -1;
      }
    }
    int start = RETURNS.length;
    int length = (int) -(back + start) & (ALIGNMENT - 1);
    boolean aimed = back - XOR_BYTES + code[xor - 1] == back + start + length;
    if (!aimed || length < JMP_BYTES || length > PADDING.length) {
      return -1;
    }
    byte[] wanted =
        length == JMP_BYTES
            ? PADDING_OF_SEVEN
            : Arrays.copyOfRange(PADDING, PADDING.length - length, PADDING.length);
    if (length == JMP_BYTES + 2) {
      wanted[0] = 0x66; // nine bytes: the segment prefix is the first to go
    }
    int from = BEFORE_BYTES + start;
    return Arrays.equals(code, from, from + length, wanted, 0, length) ? start : -1;
  }

  /** Whether a byte before {@code b8 n n n n} may be a part of the same instruction. */
  static boolean endsInPrefix(int before) {
    boolean rex = (before & 0xf0) == 0x40;
    return rex
        || switch (before) {
          case 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 -> true;
          // A SIB byte or an opcode, with b8 as displacement or ModRM: mov, test, arithmetic, imul.
          case 0x24, 0x69, 0x81, 0xc7, 0xf7, 0x8b, 0x89, 0x8d -> true;
          default -> false;
        };
  }

  /** The same of the byte before that one. */
  static boolean takesDisplacement(int opcode) {
    return opcode == 0x69 || opcode == 0x81 || opcode == 0xc7 || opcode == 0xf7;
  }

  /**
   * The stub of a site.
   *
   * @param code as {@link #patch} looks at it, before it
   * @param stub its address
   * @param slow address of the shim's way for calls that it cannot let pass
   * @param back the trapped call's return address
   */
  static byte[] stub(Kind kind, int number, byte[] code, long stub, long slow, long back) {
    ByteBuffer b = ByteBuffer.allocate(ShimLayout.STUB_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    int table = (int) ShimLayout.TABLE;
    begin(b, code, number);
    if (kind == Kind.ASK) {
      leave(b, stub, slow, back);
      b.position(STUB_PASS);
      put(b, 0x0f, 0x05); // syscall
      jumpBack(b);
      return b.array();
    }
    put(b, 0x83, 0x3c, 0x25).putInt((int) ShimLayout.SELF).put((byte) ShimLayout.ATTACHED);
    int notAttached = jump(b, 0x75); // cmpl $ATTACHED,SELF; jne slow
    put(b, 0x81, 0xff).putInt(ShimLayout.MAX_FD); // cmp $MAX_FD,%edi
    int tooHigh = jump(b, 0x73); // jae slow
    put(b, 0x89, 0xf9); // mov %edi,%ecx
    int known = 0;
    if (kind == Kind.CLOSE) {
      compareState(b, table, ShimLayout.STATE_QUIET_FILE);
      known = jump(b, 0x74); // je over
    }
    compareState(b, table, ShimLayout.STATE_HOST);
    int unknown = jump(b, 0x75); // jne slow
    if (kind == Kind.CLOSE) {
      land(b, known);
    }
    int counter = table + ShimLayout.COUNTERS_OFFSET + number * Long.BYTES;
    put(b, 0x48, 0xff, 0x04, 0x25).putInt(counter); // incq COUNTER: some are lost among threads
    if (kind == Kind.CLOSE) {
      // One more close and one more change; then nothing is known; in this order, since a look-up
      // that began before must fail.
      put(b, 0xf0, 0x81, 0x04, 0x8d).putInt(table).putInt(0x1_0100); // lock addl
      put(b, 0xc6, 0x04, 0x8d).putInt(table).put((byte) 0); // movb $0,TABLE(,%rcx,4)
    }
    put(b, 0x0f, 0x05); // syscall
    if (kind == Kind.CLOSE) {
      put(b, 0x89, 0xf9); // mov %edi,%ecx: the call has destroyed it
      put(b, 0xf0, 0x81, 0x2c, 0x8d).putInt(table).putInt(0x100); // lock subl
    }
    jumpBack(b);
    land(b, notAttached);
    land(b, tooHigh);
    land(b, unknown);
    leave(b, stub, slow, back);
    return b.array();
  }

  /** {@code cmpb $state,TABLE(,%rcx,4)} */
  private static void compareState(ByteBuffer b, int table, int state) {
    put(b, 0x80, 0x3c, 0x8d).putInt(table).put((byte) state);
  }

  private static void jumpBack(ByteBuffer b) {
    put(b, 0xff, 0x25).putInt(STUB_BACK - (b.position() + 4)); // jmp *back
  }

  private static void leave(ByteBuffer b, long stub, long slow, long back) {
    put(b, MOV_R11 >> 8, MOV_R11 & 0xff).putInt((int) stub); // mov $stub,%r11d
    put(b, 0xe9).putInt((int) (slow - (stub + b.position() + 4))); // jmp slow
    b.putLong(STUB_TRAP, back - 2);
    b.putLong(STUB_BACK, back);
  }

  /**
   * How far a thread has come that stands in a stub.
   *
   * @param code the stub's
   * @param offset of the thread's next instruction in it
   */
  static Progress progress(byte[] code, int offset) {
    int call = bodyOf(code);
    if (call > MOV_BYTES - 2 && offset == 0) {
      return Progress.NOT_BEGUN;
    }
    if ((code[call] & 0xff) == MOV_R11 >> 8 && (code[call + 1] & 0xff) == (MOV_R11 & 0xff)) {
      return offset > STUB_PASS ? Progress.AFTER : Progress.BEFORE;
    }
    call = 0;
    while ((code[call] & 0xff) != 0x0f || code[call + 1] != 0x05) {
      call++; // No instruction before it has these bytes: ShimBlobTest's business.
    }
    boolean closes = (code[call - CLEAR_BYTES] & 0xff) == 0xc6;
    int back = call + 2 + (closes ? COUNT_OUT_BYTES : 0);
    if (offset >= back + JUMP_BACK_BYTES || offset <= call) {
      boolean in = closes && offset <= call && offset > call - CLEAR_BYTES - COUNT_IN_BYTES;
      return in ? Progress.COUNTED_IN : Progress.BEFORE;
    }
    return closes && offset < back ? Progress.COUNTED_OUT_NEXT : Progress.AFTER;
  }

  /** Where a stub goes on behind {@link #begin}. */
  private static int bodyOf(byte[] stub) {
    return switch (stub[0] & 0xff) {
      case MOV_EAX -> MOV_BYTES - 2;
      case MOV_EDI -> DIRECTORY_HEAD_BYTES;
      default -> RELOAD_BYTES + MOV_BYTES - 2;
    };
  }

  /** The address of what a stub's first instruction stands for. */
  static long replaced(byte[] stub) {
    boolean reload = (stub[0] & 0xff) != MOV_EDI;
    return back(stub) - (reload ? XOR_BYTES + RELOAD_BYTES : MOV_BYTES);
  }

  /** The return address of a stub's place. */
  static long back(byte[] stub) {
    return ByteBuffer.wrap(stub).order(ByteOrder.LITTLE_ENDIAN).getLong(STUB_BACK);
  }

  /** The number of a stub's call. */
  static int number(byte[] stub) {
    ByteBuffer b = ByteBuffer.wrap(stub).order(ByteOrder.LITTLE_ENDIAN);
    return switch (stub[0] & 0xff) {
      case MOV_EAX -> b.getInt(1);
      case MOV_EDI -> b.getInt(MOV_BYTES - 2 + 1);
      default -> b.getInt(RELOAD_BYTES + 1);
    };
  }

  /** How far a thread has come in a stub. */
  enum Progress {
    /** It stands before an instruction that the patch has replaced. */
    NOT_BEGUN,
    /** It has not made its call, or will not. */
    BEFORE,
    /** The same; but its close is counted. */
    COUNTED_IN,
    /** It has made its close, or is making it, and that is counted. */
    COUNTED_OUT_NEXT,
    /** It has made its call, or is making it. */
    AFTER
  }

  private static ByteBuffer put(ByteBuffer b, int... bytes) {
    for (int x : bytes) {
      b.put((byte) x);
    }
    return b;
  }

  private static int jump(ByteBuffer b, int opcode) {
    put(b, opcode, 0);
    return b.position();
  }

  private static void land(ByteBuffer b, int jump) {
    b.put(jump - 1, (byte) (b.position() - jump));
  }
}
