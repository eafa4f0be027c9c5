// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.channel.Credentials;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A reader of {@code /proc/TID/status} that allocates nothing per look. Source: {@code
 * fs/proc/array.c}, {@code proc(5)}.
 *
 * <p>One user thread at a time. The fields are those of the last successful {@link #read}.
 */
final class TaskStatus {
  /** A thread in 4,096 groups has a line of some 45 KB; what comes after it is needed too. */
  private static final int BUFFER_BYTES = 64 * 1024;

  private static final byte[] STATE = key("State");
  private static final byte[] TGID = key("Tgid");
  private static final byte[] PPID = key("PPid");
  private static final byte[] TRACER = key("TracerPid");
  private static final byte[] UID = key("Uid");
  private static final byte[] THREADS = key("Threads");
  private static final byte[] PENDING = key("SigPnd");
  private static final byte[] SHARED_PENDING = key("ShdPnd");
  private static final byte[] BLOCKED = key("SigBlk");
  private static final byte[] CAUGHT = key("SigCgt");

  private final MemorySegment buffer;
  private final byte[] text = new byte[BUFFER_BYTES];
  private int length;
  private int at;

  char state;
  int tgid;
  int ppid;
  int tracer;

  /** The effective one, as this process has it. */
  int user;

  int threads;
  long pending;
  long sharedPending;
  long blocked;
  long caught;

  TaskStatus(Arena arena) {
    buffer = arena.allocate(BUFFER_BYTES);
  }

  /**
   * Reads an open status file from its beginning.
   *
   * @return 0 or {@code -errno}: ESRCH if the thread is gone
   */
  long read(int statusFd) {
    length = 0;
    long n;
    do {
      n = Processes.pread(statusFd, buffer.address(), BUFFER_BYTES - length, length);
      if (n < 0) {
        return n;
      }
      MemorySegment.copy(buffer, ValueLayout.JAVA_BYTE, 0, text, length, (int) n);
      length += (int) n;
      // seq_file ends a read where its own page ends; the rest comes with the next.
    } while (n > 0 && length < BUFFER_BYTES && !ended());
    if (length == 0) {
      return -Errno.ESRCH;
    }
    at = 0;
    state = find(STATE) ? (char) text[at] : 'X';
    tgid = (int) decimal(TGID);
    ppid = (int) decimal(PPID);
    tracer = (int) decimal(TRACER);
    decimal(UID); // the real one
    at++;
    user = (int) number();
    threads = (int) decimal(THREADS);
    pending = hexadecimal(PENDING);
    sharedPending = hexadecimal(SHARED_PENDING);
    blocked = hexadecimal(BLOCKED);
    caught = hexadecimal(CAUGHT);
    return 0;
  }

  /** Opens, reads and closes the status of {@code tid}; 0 or {@code -errno}. */
  long read(Arena arena, int tid) {
    long fd = open(arena, tid);
    if (fd < 0) {
      return fd;
    }
    long r = read((int) fd);
    Linux.close((int) fd);
    return r;
  }

  /** Opens the status of {@code tid}: a descriptor of the caller's, or {@code -errno}. */
  static long open(Arena arena, int tid) {
    MemorySegment path = Linux.cString(arena, "/proc/" + tid + "/status");
    return Processes.openat(Fcntl.AT_FDCWD, path.address(), Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
  }

  /**
   * The credentials in what was read last.
   *
   * @param withCapabilities false if the thread is in a user namespace of its own, where
   *     capabilities mean nothing to the device
   */
  Credentials credentials(boolean withCapabilities) {
    String all = new String(text, 0, length, StandardCharsets.ISO_8859_1);
    int[] uid = numbers(line(all, "Uid"), 4);
    int[] gid = numbers(line(all, "Gid"), 4);
    List<Integer> groups = new ArrayList<>();
    for (String g : line(all, "Groups").trim().split("\\s+", -1)) {
      if (!g.isEmpty() && groups.size() < Credentials.MAX_GROUPS) {
        groups.add(Integer.parseUnsignedInt(g));
      }
    }
    return new Credentials(
        uid[0],
        uid[1],
        uid[2],
        uid[3],
        gid[0],
        gid[1],
        gid[2],
        gid[3],
        groups,
        withCapabilities ? capabilities(all, "CapInh") : 0,
        withCapabilities ? capabilities(all, "CapPrm") : 0,
        withCapabilities ? capabilities(all, "CapEff") : 0);
  }

  /** The command's name in what was read last. */
  String name() {
    int end = 0;
    while (end < length && text[end] != '\n') {
      end++;
    }
    // The first line, and the kernel puts a tab after the key.
    return new String(text, 0, end, StandardCharsets.UTF_8).replaceFirst("^Name:\\s*", "");
  }

  private static long capabilities(String all, String key) {
    return Long.parseUnsignedLong(line(all, key).trim(), 16);
  }

  private static int[] numbers(String line, int count) {
    int[] result = new int[count];
    String[] words = line.trim().split("\\s+", -1);
    for (int i = 0; i < count; i++) {
      result[i] = Integer.parseUnsignedInt(words[i]);
    }
    return result;
  }

  private static String line(String all, String key) {
    int start = all.indexOf("\n" + key + ":");
    if (start < 0) {
      throw new IllegalStateException("no " + key + " in /proc/TID/status");
    }
    start += key.length() + 2;
    return all.substring(start, all.indexOf('\n', start));
  }

  private boolean ended() {
    // The last line is nonvoluntary_ctxt_switches or later; any whole text ends with a newline,
    // and only a reading of 0 bytes is certain. One page is what nearly every thread needs.
    return length < 4000 && length > 0 && text[length - 1] == '\n';
  }

  private long decimal(byte[] key) {
    return find(key) ? number() : 0;
  }

  /** The number that begins here; goes on behind it. */
  private long number() {
    long value = 0;
    for (; at < length && text[at] >= '0' && text[at] <= '9'; at++) {
      value = value * 10 + (text[at] - '0');
    }
    return value;
  }

  private long hexadecimal(byte[] key) {
    if (!find(key)) {
      return 0;
    }
    long value = 0;
    for (; at < length; at++) {
      int digit = Character.digit(text[at], 16);
      if (digit < 0) {
        break;
      }
      value = value << 4 | digit;
    }
    return value;
  }

  /** Moves to the value of a key that comes after the last one asked for. */
  private boolean find(byte[] key) {
    for (int i = at; i + key.length < length; i++) {
      if (text[i] == '\n' && matches(key, i)) {
        i += key.length;
        while (i < length && (text[i] == '\t' || text[i] == ' ')) {
          i++;
        }
        at = i;
        return true;
      }
    }
    return false;
  }

  private boolean matches(byte[] key, int from) {
    for (int i = 0; i < key.length; i++) {
      if (text[from + i] != key[i]) {
        return false;
      }
    }
    return true;
  }

  private static byte[] key(String name) {
    return ("\n" + name + ":").getBytes(StandardCharsets.US_ASCII);
  }
}
