// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a process is not to have from its first instruction on. It cannot be taken from a JVM that
 * runs: capabilities and Landlock are each thread's own, and a JVM has a dozen threads before its
 * first line of Java. So a thread of another one has to give it up and start that process, or
 * become it.
 *
 * <p>A value; any thread.
 *
 * @param capabilities the mask of {@link Capabilities} that is left
 * @param files what may be opened; null for all. Where the machine's kernel has no Landlock it is
 *     the same as null
 */
public record Restriction(long capabilities, @Nullable Landlock files) {
  /** Everything is left. */
  public static final Restriction NONE = new Restriction(Capabilities.ALL, null);

  private static final int CLOSE_RANGE_CLOEXEC = 4;
  private static final int SIG_SETMASK = 2;
  private static final int SIGSET_BYTES = 128;
  private static final Path COMMAND_LINE = Path.of("/proc/self/cmdline");
  private static final String EXECUTABLE = "/proc/self/exe";
  private static final int PATH_BYTES = 4096;

  /** Whether the calling thread has anything that is not left. */
  public boolean givesUpAnything() {
    return (Capabilities.permitted() & ~capabilities) != 0 || confinesFiles();
  }

  /** Whether files are confined, here. */
  public boolean confinesFiles() {
    return files != null && Landlock.version() > 0;
  }

  /** The same, with files as said; null for all. */
  public Restriction withFiles(@Nullable Landlock others) {
    return new Restriction(capabilities, others);
  }

  /**
   * Has a thread do something, and start processes, that has given it up and ends then; waits for
   * it. Nothing else of this process gives up anything.
   *
   * @return 0, or {@code -errno} if it could not be given up, and nothing was done
   */
  public long inThread(Runnable work) {
    long[] result = new long[1];
    Uninterrupted.join(
        Thread.ofPlatform()
            .name("restricted")
            .start(() -> {
              result[0] = apply();
              if (result[0] >= 0) {
                work.run();
              }
            }));
    return result[0];
  }

  /**
   * Takes it from the calling thread and all that it starts, and lets these gain nothing by
   * executing anything.
   *
   * @return 0, or {@code -errno}
   */
  private long apply() {
    long r = Processes.prctl(Processes.PR_SET_NO_NEW_PRIVS, 1);
    if (r == 0 && files != null && Landlock.version() > 0) {
      r = files.install();
    }
    return r < 0 ? r : Capabilities.keep(capabilities);
  }

  /**
   * Executes this JVM anew, as it was started, with one word more after its name, without what is
   * to be given up. The process stays the same one, with its number, its streams 0 to 2 and its
   * environment; its other threads end, and nothing of Java is run for that.
   *
   * @param before the command that executes it, which begins with a path; empty if the machine does
   * @param word an option of the JVM, by which it can tell
   * @param kept descriptors from 3 on that it is to have, as many
   * @return only if that fails: {@code -errno}; the calling thread may have given it up then
   */
  public long become(List<String> before, String word, int kept) {
    try (Arena arena = Arena.ofConfined()) {
      List<byte[]> given = split(Files.readAllBytes(COMMAND_LINE));
      // As bytes: in the C locale the JVM cannot say every path.
      byte[] executable = executable(arena);
      if (given.isEmpty() || executable.length == 0) {
        return -Errno.ENOENT;
      }
      List<byte[]> words = new ArrayList<>();
      if (before.isEmpty()) {
        words.add(given.getFirst());
      } else {
        before.forEach(each -> words.add(each.getBytes(StandardCharsets.UTF_8)));
        words.add(executable);
      }
      words.add(word.getBytes(StandardCharsets.UTF_8));
      words.addAll(given.subList(1, given.size()));
      MemorySegment argv = arena.allocate(ValueLayout.JAVA_LONG, words.size() + 1L);
      for (int i = 0; i < words.size(); i++) {
        argv.setAtIndex(ValueLayout.JAVA_LONG, i, string(arena, words.get(i)).address());
      }
      MemorySegment path = string(arena, before.isEmpty() ? executable : words.getFirst());
      long environ = Processes.environ();
      CFunction execve = CFunction.ofLibc("execve");
      long r = apply();
      if (r < 0) {
        return r;
      }
      Linux.syscall(SyscallNumbers.CLOSE_RANGE, 3 + kept, 0xffff_ffffL, CLOSE_RANGE_CLOEXEC);
      // A thread of Java's has SIGQUIT blocked, and what is blocked stays so.
      MemorySegment none = arena.allocate(SIGSET_BYTES, 8);
      CFunction.ofLibc("pthread_sigmask").callInt(SIG_SETMASK, none.address(), 0);
      return execve.callIntOrErrno(path.address(), argv.address(), environ);
    } catch (IOException e) {
      return -Errno.ENOENT;
    }
  }

  private static byte[] executable(Arena arena) {
    MemorySegment name = arena.allocate(PATH_BYTES);
    long n =
        Linux.syscall(
            SyscallNumbers.READLINKAT,
            Fcntl.AT_FDCWD,
            Linux.cString(arena, EXECUTABLE).address(),
            name.address(),
            PATH_BYTES,
            0,
            0);
    return n <= 0 ? new byte[0] : name.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
  }

  private static List<byte[]> split(byte[] bytes) {
    List<byte[]> strings = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < bytes.length; i++) {
      if (bytes[i] == 0) {
        strings.add(Arrays.copyOfRange(bytes, start, i));
        start = i + 1;
      }
    }
    return strings;
  }

  private static MemorySegment string(Arena arena, byte[] bytes) {
    MemorySegment copy = arena.allocate(bytes.length + 1L);
    MemorySegment.copy(bytes, 0, copy, ValueLayout.JAVA_BYTE, 0, bytes.length);
    return copy;
  }
}
