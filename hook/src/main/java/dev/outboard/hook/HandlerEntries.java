// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Memory;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/**
 * Puts a few instructions before the signal handlers of programs that were installed without {@code
 * SA_RESTART}: they make a call anew that such a signal has ended with EINTR before the hook
 * received it, if it is one that never says EINTR. ADR 0040 argues it.
 *
 * <p>They lie in a page of the program's memory, with one entry for each handler. A {@code
 * rt_sigaction} that installs such a handler goes to the kernel with the entry's address in its
 * place. The page is made, once for each program, by the caller, which is held ({@link
 * HeldThread}); so is a call that asks for an action with an entry, and it is told its own handler.
 *
 * <p>Notifier threads call it, each with the notification that it serves.
 */
final class HandlerEntries {
  private static final String MAGIC = "obentry1";
  private static final int COMMON_AT = 8;
  private static final int ENTRIES_AT = 12;
  private static final int ACTION_OFFSET = 16;
  private static final int REPEATED_OFFSET = 48;
  private static final int NUMBERS = 512;
  private static final int PREFIXES_OFFSET = REPEATED_OFFSET + NUMBERS / 8;
  private static final int BYTES_OF_256_BITS = 32;
  private static final int OPCODES_OFFSET = PREFIXES_OFFSET + BYTES_OF_256_BITS;

  private static final int PAGE_BYTES = 4096;

  /** {@code movabs $handler,%r11; jmp common}, and a byte of padding. */
  private static final int ENTRY_BYTES = 16;

  private static final short MOVABS_R11 = (short) 0xbb49;
  private static final int HANDLER_AT = 2;
  private static final int JUMP_AT = 10;
  private static final byte JUMP = (byte) 0xe9;

  // struct sigaction of the kernel: handler, flags, restorer, mask.
  private static final int ACTION_BYTES = 32;
  private static final int FLAGS_AT = 8;
  private static final long SA_RESTART = 0x1000_0000;

  /** SIG_DFL and SIG_IGN. */
  private static final long LAST_WORD = 1;

  private static final int LAST_SIGNAL = 64;
  private static final long READ_EXECUTE = Memory.PROT_READ | Memory.PROT_EXEC;
  private static final long ANONYMOUS = Memory.MAP_PRIVATE | Memory.MAP_ANONYMOUS;

  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

  /** What a new page begins with; loaded when the first program needs one. */
  private static final class Template {
    static final byte[] CODE = load();
    static final int COMMON = MemorySegment.ofArray(CODE).get(INT, COMMON_AT);
    static final int FIRST = MemorySegment.ofArray(CODE).get(INT, ENTRIES_AT);

    private Template() {}
  }

  private static byte[] load() {
    try (InputStream in = HandlerEntries.class.getResourceAsStream("entry.bin")) {
      if (in == null) {
        throw new IllegalStateException("entry.bin is missing");
      }
      byte[] bytes = in.readAllBytes();
      if (!new String(bytes, 0, MAGIC.length(), StandardCharsets.US_ASCII).equals(MAGIC)) {
        throw new IllegalStateException("entry.bin is not what this version needs");
      }
      setBits(bytes, REPEATED_OFFSET, NUMBERS, HandlerEntries::isRepeated);
      setBits(bytes, PREFIXES_OFFSET, 1 << Byte.SIZE, PatchSite::endsInPrefix);
      setBits(bytes, OPCODES_OFFSET, 1 << Byte.SIZE, PatchSite::takesDisplacement);
      return bytes;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void setBits(byte[] bytes, int offset, int count, IntPredicate which) {
    for (int i = 0; i < count; i++) {
      if (which.test(i)) {
        bytes[offset + i / Byte.SIZE] |= (byte) (1 << (i % Byte.SIZE));
      }
    }
  }

  /** Whether a call that may trap never says EINTR, whatever its arguments. */
  static boolean isRepeated(int number) {
    // Some requests wait for a terminal; and of fcntl only those two commands that entry.S knows.
    if (number == SyscallNumbers.IOCTL) {
      return false;
    }
    Row row = SyscallTable.byX86(number);
    return number == SyscallNumbers.FCNTL || (row != null && row.trapped() && !row.mayBlock());
  }

  /**
   * Serves a {@code rt_sigaction} as far as an entry has to do with it.
   *
   * @return false if the host's kernel may carry it out: as it was, or with the handler changed
   */
  boolean install(Notification n) {
    ProcessEntry p = n.process();
    long signal = n.args()[0];
    if (signal < 1 || signal > LAST_SIGNAL) {
      return false;
    }
    boolean asks = n.args()[2] != 0 && p.hasEntry((int) signal);
    try (Arena a = Arena.ofConfined()) {
      MemorySegment action = a.allocate(ACTION_BYTES, Long.BYTES);
      boolean hasAction = n.args()[1] != 0;
      if (hasAction && n.memory().read(n.args()[1], action, 0, ACTION_BYTES) != 0) {
        return false; // EFAULT, or it cannot be looked at
      }
      long handler = action.get(LONG, 0);
      boolean isEntry = isEntry(p.entries(), handler);
      boolean needsEntry =
          handler > LAST_WORD && (action.get(LONG, FLAGS_AT) & SA_RESTART) == 0 && !isEntry;
      if (needsEntry || isEntry) {
        p.addEntry((int) signal);
      }
      if (!needsEntry && !asks) {
        return false;
      }
      int memory = Shim.openMemory(a, p);
      if (memory < 0) {
        return false;
      }
      try {
        if (!asks && p.entries() != 0 && write(n, p, a, memory, action)) {
          return false;
        }
        return hold(n, p, a, memory, needsEntry ? action : null, asks);
      } finally {
        Linux.close(memory);
      }
    }
  }

  /**
   * Gives the action's handler an entry, and writes that over the action in the program's memory:
   * libc has made it for this call alone, so nobody looks at it again.
   */
  private boolean write(Notification n, ProcessEntry p, Arena a, int memory, MemorySegment action) {
    synchronized (this) {
      long entry = enter(p.entries(), a, memory, action);
      if (entry == 0) {
        return false;
      }
      MemorySegment handler = a.allocate(Long.BYTES, Long.BYTES);
      handler.set(LONG, 0, entry);
      return n.memory().write(n.args()[1], handler, 0, Long.BYTES) == 0;
    }
  }

  /** Has the caller make a page for entries, or make the call where more is to be done. */
  private boolean hold(
      Notification n,
      ProcessEntry p,
      Arena a,
      int memory,
      @Nullable MemorySegment action,
      boolean asks) {
    HeldThread t = HeldThread.seize(n, a);
    if (t == null) {
      return false; // Somebody traces it.
    }
    if (!t.begin()) {
      return true;
    }
    if (action != null && p.entries() == 0) {
      long page = t.call(SyscallNumbers.MMAP, 0, PAGE_BYTES, READ_EXECUTE, ANONYMOUS, -1, 0);
      if (page > 0) {
        p.entries(page);
      }
      if (!asks && page > 0 && write(n, p, a, memory, action)) {
        t.again(); // It traps again, and has its entry.
        return true;
      }
    }
    long[] own = n.args();
    long result;
    // Threads, and processes that share memory, share the page's room for one action. What the held
    // thread needs to get on is served without this lock.
    synchronized (this) {
      long entry = action == null ? 0 : enter(p.entries(), a, memory, action);
      // Without room for an entry the handler is installed as it is.
      long act = entry == 0 ? own[1] : p.entries() + ACTION_OFFSET;
      result = t.call(SyscallNumbers.RT_SIGACTION, own[0], act, own[2], own[3]);
    }
    if (result == HeldThread.GONE) {
      return true;
    }
    if (result == 0 && own[2] != 0) {
      translate(n, p, a, own[2]);
    }
    n.heldResult(result);
    t.finish(result);
    return true;
  }

  /** Makes an entry for the action's handler, and an action with it; its address, or 0. */
  private long enter(long page, Arena a, int memory, MemorySegment action) {
    MemorySegment content = a.allocate(PAGE_BYTES, Long.BYTES);
    if (page == 0 || !Shim.readAll(memory, content, page)) {
      return 0;
    }
    if (content.get(ValueLayout.JAVA_BYTE, 0) == 0) {
      MemorySegment.copy(Template.CODE, 0, content, ValueLayout.JAVA_BYTE, 0, Template.CODE.length);
    }
    long handler = action.get(LONG, 0);
    int at = Template.FIRST;
    while (content.get(SHORT, at) == MOVABS_R11 && content.get(LONG, at + HANDLER_AT) != handler) {
      at += ENTRY_BYTES;
      if (at > PAGE_BYTES - ENTRY_BYTES) {
        return 0;
      }
    }
    content.set(SHORT, at, MOVABS_R11);
    content.set(LONG, at + HANDLER_AT, handler);
    content.set(ValueLayout.JAVA_BYTE, at + JUMP_AT, JUMP);
    content.set(INT, at + JUMP_AT + 1, Template.COMMON - (at + JUMP_AT + 1 + Integer.BYTES));
    MemorySegment.copy(action, 0, content, ACTION_OFFSET, ACTION_BYTES);
    content.set(LONG, ACTION_OFFSET, page + at);
    return Shim.writeAll(memory, content, page) ? page + at : 0;
  }

  /** Tells the program its own handler where the kernel has told it of an entry. */
  private void translate(Notification n, ProcessEntry p, Arena a, long old) {
    MemorySegment handler = a.allocate(Long.BYTES, Long.BYTES);
    if (n.memory().read(old, handler, 0, Long.BYTES) == 0
        && isEntry(p.entries(), handler.get(LONG, 0))) {
      long own = handler.get(LONG, 0) + HANDLER_AT;
      if (n.memory().read(own, handler, 0, Long.BYTES) == 0) {
        n.memory().write(old, handler, 0, Long.BYTES);
      }
    }
  }

  private boolean isEntry(long page, long address) {
    return page != 0 && address >= page + Template.FIRST && address < page + PAGE_BYTES;
  }
}
