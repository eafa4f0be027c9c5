// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Spawn;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Kills the program's tree if the hook dies: a small shell process in a session of its own.
 *
 * <p>A program whose hook is gone gets ENOSYS for every trapped call, which no program is written
 * for. The guard reads process numbers and start times from a pipe; when the pipe ends without a
 * farewell it stops, then kills those of them that are still the same processes, and their
 * children.
 */
final class Guard implements AutoCloseable {
  /** Once so many have ended the guard gets a fresh list. */
  private static final int MAX_STALE = 64;

  private static final String SCRIPT =
      """
      trap '' HUP INT QUIT TERM TSTP TTIN TTOU
      pids=
      while read -r verb pid start; do
        case $verb in
          bye) exit 0 ;;
          reset) pids= ;;
          met) pids="$pids $pid:$start" ;;
        esac
      done
      # Sets parent and start of process $1.
      look() {
        { read -r stat < "/proc/$1/stat"; } 2>/dev/null || return 1
        set -- ${stat##*) }
        state=$1 parent=$2 start=${20}
      }
      tree=
      for entry in $pids; do
        if look "${entry%:*}" && [ "$start" = "${entry#*:}" ]; then
          kill -STOP "${entry%:*}" 2>/dev/null
          tree="$tree ${entry%:*}"
        fi
      done
      more=yes
      while [ -n "$more" ]; do
        more=
        for dir in /proc/[0-9]*; do
          pid=${dir#/proc/}
          case " $tree " in *" $pid "*) continue ;; esac
          look "$pid" || continue
          case " $tree " in *" $parent "*)
            kill -STOP "$pid" 2>/dev/null
            tree="$tree $pid" more=yes ;;
          esac
        done
      done
      for pid in $tree; do kill -KILL "$pid" 2>/dev/null; done
      """;

  private final int pid;
  private boolean saidBye; // guarded by this
  private final int pipe;
  private final Map<Integer, String> met = new LinkedHashMap<>();
  private int stale;

  private Guard(int pid, int pipe) {
    this.pid = pid;
    this.pipe = pipe;
  }

  /** Starts the guard. */
  static Guard start() throws HookException {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment ends = a.allocate(8, 4);
      long r = Linux.syscall(SyscallNumbers.PIPE2, ends.address(), Fcntl.O_CLOEXEC, 0);
      if (r < 0) {
        throw new HookException(HookException.FAILED, "pipe2: " + Errno.name((int) -r));
      }
      int in = ends.get(JAVA_INT, 0);
      int out = ends.get(JAVA_INT, 4);
      // A guard that does not read must not stop the hook.
      Linux.fcntl(out, Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      long pid =
          new Spawn(List.of("/bin/sh", "-c", SCRIPT, "outboard-guard"))
              .duplicate(in, 0)
              .open(1, "/dev/null", Fcntl.O_RDWR)
              .open(2, "/dev/null", Fcntl.O_RDWR)
              .closeFrom(3)
              .newSession()
              .start();
      Linux.close(in);
      if (pid < 0) {
        Linux.close(out);
        throw new HookException(
            HookException.FAILED, "/bin/sh cannot be started: " + Errno.name((int) -pid) + ".");
      }
      return new Guard((int) pid, out);
    }
  }

  /** The guard's own process. */
  int pid() {
    return pid;
  }

  /** A process of the program exists. */
  synchronized void met(int process) {
    String start = startTime(process);
    if (start != null) {
      met.put(process, start);
      send("met " + process + " " + start + "\n");
    }
  }

  /** It is gone. */
  synchronized void ended(int process) {
    met.remove(process);
    if (++stale >= MAX_STALE) {
      stale = 0;
      StringBuilder b = new StringBuilder("reset\n");
      met.forEach((p, start) -> b.append("met ").append(p).append(' ').append(start).append('\n'));
      send(b.toString());
    }
  }

  /** Says farewell: the tree is empty. Nothing more may be said. */
  synchronized void bye() {
    if (!saidBye) {
      saidBye = true;
      send("bye\n");
    }
  }

  /** Waits until the guard has ended. */
  @Override
  public synchronized void close() {
    bye();
    Linux.close(pipe);
    Processes.waitTask(pid, 0, 0);
  }

  private void send(String lines) {
    try (Arena a = Arena.ofConfined()) {
      byte[] bytes = lines.getBytes(StandardCharsets.US_ASCII);
      MemorySegment from = a.allocate(bytes.length);
      MemorySegment.copy(bytes, 0, from, ValueLayout.JAVA_BYTE, 0, bytes.length);
      Linux.write(pipe, from.address(), bytes.length);
    }
  }

  private static @org.jspecify.annotations.Nullable String startTime(int process) {
    try {
      String stat = Files.readString(Path.of("/proc/" + process + "/stat"));
      String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
      return fields[19];
    } catch (IOException e) {
      // It is gone already.
      return null;
    }
  }
}
