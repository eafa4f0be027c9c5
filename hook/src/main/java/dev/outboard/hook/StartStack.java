// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a kernel puts on a new program's stack for it: the count of its arguments, pointers to them
 * and to its environment, and the auxiliary vector; the texts lie above. Source: {@code
 * create_elf_tables()}.
 *
 * <p>A program that was executed by a descriptor has names of descriptors among its texts. Here
 * they are replaced: the words move down, and between them and the old texts there is room for new
 * ones. Used by one thread, while the program has not begun.
 */
final class StartStack {
  /** Reads the program's memory. */
  interface Memory {
    /** The bytes at an address; fewer or none where there are no more. */
    byte[] read(long address, int bytes);
  }

  /** What to write. */
  static final class Rewritten {
    private final byte[] bytes;
    private final long stack;
    private final long room;
    private final int threadAt;
    private final int argumentsAt;
    private final int argumentsEnd;

    private Rewritten(
        byte[] bytes, long stack, long room, int threadAt, int argumentsAt, int argumentsEnd) {
      this.bytes = bytes;
      this.stack = stack;
      this.room = room;
      this.threadAt = threadAt;
      this.argumentsAt = argumentsAt;
      this.argumentsEnd = argumentsEnd;
    }

    /** The new stack pointer, where {@link #bytes} belong. */
    long stack() {
      return stack;
    }

    /** What stands there: not to be changed. */
    byte[] bytes() {
      return bytes;
    }

    /** Where the thread's name stands. */
    long threadName() {
      return room + threadAt;
    }

    /** Where all arguments stand in a row, if they do; else 0. */
    long arguments() {
      return argumentsAt == 0 ? 0 : room + argumentsAt;
    }

    /** The end of these. */
    long argumentsEnd() {
      return room + argumentsEnd;
    }

    /** 8-aligned, where {@link #SPARE_BYTES} of zeros stand, for the caller's use. */
    long spare() {
      return room;
    }
  }

  static final int SPARE_BYTES = 104;

  private static final int WORD = Long.BYTES;
  private static final int PIECE_BYTES = 64 * 1024;

  /** No kernel lets arguments take more than 3/4 of {@code _STK_LIM}. */
  private static final int MOST_BYTES = 8 << 20;

  /** A kernel gives a new stack 128 KiB below what it holds, if it may grow so far. */
  private static final int MOST_TEXTS = 64 * 1024;

  private static final long AT_EXECFN = 31;
  private static final int ALIGNMENT = 16;

  private final Memory memory;
  private final long address;
  private final long[] words;
  private final int arguments;
  private final int nameWord;

  private StartStack(Memory memory, long address, long[] words, int arguments, int nameWord) {
    this.memory = memory;
    this.address = address;
    this.words = words;
    this.arguments = arguments;
    this.nameWord = nameWord;
  }

  /** The stack at an address; null if there is none. */
  static @Nullable StartStack read(Memory memory, long address) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    long[] words = {};
    int at = -1; // of the auxiliary vector's next word, once the others are there
    int arguments = 0;
    int name = -1;
    while (all.size() < MOST_BYTES) {
      byte[] more = memory.read(address + all.size(), PIECE_BYTES);
      if (more.length == 0) {
        return null;
      }
      all.writeBytes(more);
      words = words(all.toByteArray());
      if (at < 0) {
        if (words[0] < 0 || words[0] > MOST_BYTES / WORD) {
          return null;
        }
        arguments = (int) words[0];
        int i = 2 + arguments;
        while (i < words.length && words[i] != 0) {
          i++;
        }
        if (i >= words.length) {
          continue;
        }
        at = i + 1;
      }
      for (; at + 1 < words.length; at += 2) {
        if (words[at] == AT_EXECFN) {
          name = at + 1;
        }
        if (words[at] == 0) {
          return name < 0
              ? null
              : new StartStack(memory, address, Arrays.copyOf(words, at + 2), arguments, name);
        }
      }
    }
    return null;
  }

  private static long[] words(byte[] bytes) {
    long[] words = new long[bytes.length / WORD];
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().get(words);
    return words;
  }

  int arguments() {
    return arguments;
  }

  /** An argument, or as much of it as is shorter than {@code most}. */
  byte[] argument(int index, int most) {
    return text(words[1 + index], most);
  }

  /** The name by which a kernel has executed the program: AT_EXECFN. */
  byte[] name(int most) {
    return text(words[nameWord], most);
  }

  private byte[] text(long from, int most) {
    byte[] text = memory.read(from, most);
    int end = 0;
    while (end < text.length && text[end] != 0) {
      end++;
    }
    return Arrays.copyOf(text, end);
  }

  /**
   * Gives the program other texts.
   *
   * @param name for AT_EXECFN
   * @param first arguments that are others from now on: these, from {@code argument} on
   * @param thread the thread's name
   */
  Rewritten rewrite(byte[] name, int argument, List<byte[]> first, byte[] thread) {
    byte[][] texts = first.isEmpty() ? null : texts(argument, first);
    boolean all = texts != null;
    ByteArrayOutputStream room = new ByteArrayOutputStream();
    room.writeBytes(new byte[SPARE_BYTES]);
    int threadAt = put(room, thread);
    int nameAt = put(room, name);
    int[] offsets = new int[arguments];
    int argumentsAt = room.size();
    for (int i = 0; i < arguments; i++) {
      boolean other = i >= argument && i < argument + first.size();
      byte[] text = other ? first.get(i - argument) : texts == null ? null : texts[i];
      offsets[i] = text == null ? -1 : put(room, text);
    }
    int argumentsEnd = room.size();
    room.writeBytes(new byte[-room.size() & (ALIGNMENT - 1)]);
    int wordBytes = words.length * WORD;
    long stack = address - room.size();
    long roomAt = stack + wordBytes;
    long[] moved = words.clone();
    moved[nameWord] = roomAt + nameAt;
    for (int i = 0; i < arguments; i++) {
      if (offsets[i] >= 0) {
        moved[1 + i] = roomAt + offsets[i];
      }
    }
    ByteBuffer bytes = ByteBuffer.allocate(wordBytes + room.size()).order(ByteOrder.LITTLE_ENDIAN);
    for (long w : moved) {
      bytes.putLong(w);
    }
    bytes.put(room.toByteArray());
    return new Rewritten(
        bytes.array(), stack, roomAt, threadAt, all ? argumentsAt : 0, argumentsEnd);
  }

  /**
   * All arguments; null if they are too much to be moved. Behind those that are others, which come
   * first, they stand in a row.
   */
  private byte @Nullable [][] texts(int argument, List<byte[]> first) {
    byte[][] texts = new byte[arguments][];
    int next = argument + first.size();
    long base = next < arguments ? words[1 + next] : 0;
    byte[] row = next < arguments ? memory.read(base, MOST_TEXTS) : new byte[0];
    long total = 0;
    for (int i = 0; i < arguments && total < MOST_TEXTS; i++) {
      if (i >= argument && i < next) {
        texts[i] = first.get(i - argument);
      } else if (i < argument) {
        texts[i] = argument(i, PIECE_BYTES);
      } else {
        long from = words[1 + i] - base;
        int end = Math.clamp(from, 0, row.length);
        while (end < row.length && row[end] != 0) {
          end++;
        }
        if (from < 0 || end == row.length) {
          return null;
        }
        texts[i] = Arrays.copyOfRange(row, (int) from, end);
      }
      total += texts[i].length + 1L;
    }
    return total < MOST_TEXTS ? texts : null;
  }

  private static int put(ByteArrayOutputStream room, byte[] text) {
    int at = room.size();
    room.writeBytes(text);
    room.write(0);
    return at;
  }
}
