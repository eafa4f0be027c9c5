// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Poll;
import dev.outboard.cli.SignalPairs.Side;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The shell that stands in front of {@code outboard run}, as the hook sees it ({@code
 * docs/adr/0005}): takes the program's status, sends on signals, and may go away.
 *
 * <p>Owns the two pipes' descriptors. {@link #end} may be called by any thread; the listener is
 * called on a thread of the front's own.
 */
final class Front {
  /** What the front has to say. */
  interface Listener {
    /** {@code signal} was sent to the front, meant for the program; the program has not got it. */
    void signal(int signal);

    /** The front is gone and took no status: nobody waits for the program any more. */
    void gone();
  }

  private static final String PREFIX = "outboard.front.";
  private static final int POLLFD_BYTES = 8;
  private static final int LINE_BYTES = 4096;

  /** What the front and its witness are asked with; `./outboard` has the same number. */
  private static final int QUESTION = 63;

  /** Numbers of x86-64, the names as {@code trap} of sh has them. */
  private static final Map<String, Integer> SIGNALS =
      Map.ofEntries(
          Map.entry("HUP", 1),
          Map.entry("INT", 2),
          Map.entry("QUIT", 3),
          Map.entry("USR1", 10),
          Map.entry("USR2", 12),
          Map.entry("ALRM", 14),
          Map.entry("TERM", 15),
          Map.entry("CONT", 18),
          Map.entry("VTALRM", 26),
          Map.entry("PROF", 27),
          Map.entry("PWR", 30));

  private final int pid;
  private final long ignoredSignals;
  private final int controlFd;
  private int statusFd;

  private static @Nullable Front ours;

  private Front(int pid, long ignoredSignals, int statusFd, int controlFd) {
    this.pid = pid;
    this.ignoredSignals = ignoredSignals;
    this.statusFd = statusFd;
    this.controlFd = controlFd;
    // Before anything is started that would inherit them.
    Linux.fcntl(statusFd, Fcntl.F_SETFD, Fcntl.FD_CLOEXEC);
    Linux.fcntl(controlFd, Fcntl.F_SETFD, Fcntl.FD_CLOEXEC);
  }

  /** The front that started this JVM; null if the JVM was started by something else. */
  static synchronized @Nullable Front ofThisProcess() {
    String pid = System.getProperty(PREFIX + "pid");
    if (ours == null && pid != null) {
      ours =
          new Front(
              Integer.parseInt(pid),
              Long.parseUnsignedLong(System.getProperty(PREFIX + "ignored", "0"), 16),
              Integer.parseInt(System.getProperty(PREFIX + "status")),
              Integer.parseInt(System.getProperty(PREFIX + "control")));
    }
    return ours;
  }

  /** Lets this process's front, if it has one, end with {@code status} unless it already has. */
  static void finish(int status) {
    Front front = ofThisProcess();
    if (front != null) {
      front.end(status);
    }
  }

  /** The front's process id. */
  int pid() {
    return pid;
  }

  /** Bit n-1: signal n was ignored when the user called, and is to be for the program. */
  long ignoredSignals() {
    return ignoredSignals;
  }

  /** Lets the front end with {@code status}, 0 to 255. Only the first call counts. */
  synchronized void end(int status) {
    if (statusFd < 0) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      byte[] line = (status + "\n").getBytes(StandardCharsets.US_ASCII);
      MemorySegment bytes = arena.allocate(line.length).copyFrom(MemorySegment.ofArray(line));
      // If the front is gone, nobody wants it.
      Linux.write(statusFd, bytes.address(), line.length);
    }
    Linux.close(statusFd);
    statusFd = -1;
  }

  private synchronized boolean ended() {
    return statusFd < 0;
  }

  /** Starts to listen, for as long as the front lives. */
  void listen(Listener listener) {
    long pidfd = Processes.pidfdOpen(pid);
    Thread.ofPlatform().daemon().name("front").start(() -> listen(listener, (int) pidfd));
  }

  private void listen(Listener listener, int pidfd) {
    // The thread lives as long as the front, which is as long as the JVM or nearly so.
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment polls = arena.allocate(2L * POLLFD_BYTES, 4);
      MemorySegment buffer = arena.allocate(LINE_BYTES);
      SignalPairs pairs = new SignalPairs(System::nanoTime);
      // Whom to ask; before a side has said that it listens, the question would end it.
      Map<Side, Integer> pidfds = new EnumMap<>(Side.class);
      StringBuilder rest = new StringBuilder();
      int control = controlFd;
      boolean alive = pidfd >= 0;
      while (alive) {
        expect(polls, 0, pidfd);
        expect(polls, 1, control);
        long ready = Linux.poll(polls.address(), 2, -1);
        if (ready < 0 && ready != -Errno.EINTR) {
          break;
        }
        if (ready > 0 && happened(polls, 1)) {
          long count = Linux.read(control, buffer.address(), LINE_BYTES);
          if (count > 0) {
            byte[] bytes = buffer.asSlice(0, count).toArray(ValueLayout.JAVA_BYTE);
            rest.append(new String(bytes, StandardCharsets.US_ASCII));
            take(rest, pairs, pidfds);
          } else {
            // poll(2) passes over a negative descriptor.
            control = -1;
          }
        }
        pidfds.forEach((side, whom) -> {
          if (pairs.ask(side) && Processes.pidfdSendSignal(whom, QUESTION) < 0) {
            pairs.answered(side);
          }
        });
        for (int signal; (signal = pairs.due()) != 0; ) {
          listener.signal(signal);
        }
        alive = !(ready > 0 && happened(polls, 0));
      }
      pidfds.values().forEach(Linux::close);
    }
    Linux.close(pidfd);
    if (!ended()) {
      listener.gone();
    }
  }

  /**
   * Consumes the whole lines in {@code text}: {@code SIDE SIGNAL}, what a side got; {@code SIDE
   * listens PID}, its first; {@code SIDE answers}, to a question.
   */
  private static void take(StringBuilder text, SignalPairs pairs, Map<Side, Integer> pidfds) {
    for (int end; (end = text.indexOf("\n")) >= 0; text.delete(0, end + 1)) {
      String[] words = text.substring(0, end).split(" ", 3);
      @Nullable Side side =
          switch (words[0]) {
            case "front" -> Side.FRONT;
            case "group" -> Side.GROUP;
            default -> null;
          };
      if (side == null || words.length < 2) {
        continue;
      }
      switch (words[1]) {
        case "listens" -> {
          if (words.length == 3) {
            pidfds.computeIfAbsent(
                side, s -> (int) Processes.pidfdOpen(Integer.parseInt(words[2])));
          }
        }
        case "answers" -> pairs.answered(side);
        default -> {
          Integer signal = SIGNALS.get(words[1]);
          if (signal != null) {
            pairs.report(side, signal);
          }
        }
      }
    }
  }

  private static void expect(MemorySegment polls, int index, int fd) {
    polls.set(ValueLayout.JAVA_INT, (long) index * POLLFD_BYTES, fd);
    polls.set(ValueLayout.JAVA_SHORT, (long) index * POLLFD_BYTES + 4, (short) Poll.POLLIN);
    polls.set(ValueLayout.JAVA_SHORT, (long) index * POLLFD_BYTES + 6, (short) 0);
  }

  private static boolean happened(MemorySegment polls, int index) {
    return polls.get(ValueLayout.JAVA_SHORT, (long) index * POLLFD_BYTES + 6) != 0;
  }
}
