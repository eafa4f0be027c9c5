// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Restriction;
import dev.outboard.posix.SocketPair;
import dev.outboard.posix.Spawn;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * A device process of this command's own, at the other end of a socket pair: {@code outboard device
 * --fd 3}, or {@code ssh} and what it runs on another machine.
 *
 * <p>It leads a session of its own, so that the terminal's signals pass it by, and it ends when the
 * link does; so it needs no looking after. What it writes to its standard error is handed on.
 */
final class EmbeddedDevice {
  /** The link's number in the device process. */
  private static final int CHILD_FD = 3;

  /**
   * How long the device goes on with what the program had sent when it ended: longer than a kernel
   * that gets no answer tries ({@code tcp_orphan_retries}) would keep anybody waiting for.
   */
  static final Duration DELIVERY = Duration.ofSeconds(60);

  private static final Duration PATIENCE = Duration.ofSeconds(5);

  /** How often to look whether the process has ended, when its pipe says nothing. */
  private static final Duration LOOK = Duration.ofMillis(5);

  /** How long what it has said may take to be handed on, if another holds its pipe open. */
  private static final Duration LAST_WORDS = Duration.ofMillis(500);

  private static final Duration TRAINING_PATIENCE = Duration.ofMinutes(2);

  /** Modules that use memory beyond Java's, hence native access; the launcher has the same list. */
  private static final List<String> NATIVE_MODULES =
      List.of(
          "dev.outboard.posix",
          "dev.outboard.syscalls",
          "dev.outboard.channel",
          "dev.outboard.relay",
          "dev.outboard.kernel",
          "dev.outboard.virtio",
          "dev.outboard.device",
          "dev.outboard.cli");

  private static final int RELAY_BYTES = 4096;

  private final String role;
  private final int pid;
  private final int linkFd;
  private final Thread relay;
  private final Thread reaper;

  private EmbeddedDevice(String role, int pid, int linkFd, Thread relay) {
    this.role = role;
    this.pid = pid;
    this.linkFd = linkFd;
    this.relay = relay;
    // At once, whenever it ends: a child that has ended hides others from the hook, which waits for
    // orphans of the program.
    this.reaper =
        Thread.ofPlatform()
            .daemon()
            .name("device-end")
            .start(() -> Linux.syscall(SyscallNumbers.WAIT4, pid, 0, 0));
  }

  /**
   * Starts the process. It boots while the caller goes on: connect to {@link #linkFd()}.
   *
   * @param left what it is left with from its first moment on
   */
  static EmbeddedDevice start(
      List<String> deviceArguments, Restriction left, Consumer<String> messages) {
    List<String> command = new ArrayList<>(prefix());
    command.addAll(List.of("device", "--fd", Integer.toString(CHILD_FD)));
    command.addAll(deviceArguments);
    return start(command, left, false, messages);
  }

  /**
   * The command of a device process whose sessions come over a service's control link.
   *
   * @param shared whether it has more than one session at a time
   */
  static List<String> controlled(List<String> deviceArguments, boolean shared) {
    List<String> command = new ArrayList<>(prefix());
    command.addAll(List.of("device", "--control", Integer.toString(CHILD_FD), "--log"));
    if (shared) {
      command.add("--shared");
    }
    command.addAll(deviceArguments);
    return command;
  }

  /**
   * Starts a command that reaches a device elsewhere by its standard input and output. What is at
   * {@link #linkFd()} is not a link but what carries one.
   */
  static EmbeddedDevice startCarrier(List<String> command, Consumer<String> messages) {
    return start(command, Restriction.NONE, true, messages);
  }

  /**
   * @param standard whether the child's end is its standard input and output, or {@link #CHILD_FD}
   */
  private static EmbeddedDevice start(
      List<String> command, Restriction left, boolean standard, Consumer<String> messages) {
    SocketPair link = SocketPair.open();
    if (link.error() < 0) {
      throw new Failure("cannot make a link to the device: " + Errno.name(-link.error()));
    }
    int ours = link.one();
    int theirs = link.other();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pair = arena.allocate(8, 4);
      long r = Linux.syscall(SyscallNumbers.PIPE2, pair.address(), Fcntl.O_CLOEXEC, 0);
      if (r < 0) {
        Linux.close(ours);
        Linux.close(theirs);
        throw new Failure("cannot make a pipe to the device: " + Errno.name((int) -r));
      }
      int messagesFrom = pair.get(ValueLayout.JAVA_INT, 0);
      int messagesTo = pair.get(ValueLayout.JAVA_INT, 4);
      Spawn spawn = new Spawn(command).restrictedBy(left).duplicate(messagesTo, 2);
      if (standard) {
        spawn.duplicate(theirs, 0).duplicate(theirs, 1).closeFrom(CHILD_FD).searchPath();
      } else {
        // Our standard streams may be pipes whose other ends wait for the program alone to close
        // them.
        spawn
            .jvmOfOurs()
            .open(0, "/dev/null", Fcntl.O_RDWR)
            .open(1, "/dev/null", Fcntl.O_RDWR)
            .duplicate(theirs, CHILD_FD)
            .closeFrom(CHILD_FD + 1);
      }
      long pid = spawn.newSession().start();
      Linux.close(theirs);
      Linux.close(messagesTo);
      if (pid < 0) {
        Linux.close(ours);
        Linux.close(messagesFrom);
        throw new Failure(
            "cannot start the device, " + command.getFirst() + ": " + Errno.name((int) -pid));
      }
      return new EmbeddedDevice(
          standard ? "ssh" : "device", (int) pid, ours, relay(messagesFrom, messages));
    }
  }

  /** Hands the device's lines on; the thread owns the descriptor and ends with the device. */
  private static Thread relay(int fd, Consumer<String> messages) {
    return Thread.ofPlatform()
        .daemon()
        .name("device-messages")
        .start(() -> {
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate(RELAY_BYTES);
            ByteArrayOutputStream line = new ByteArrayOutputStream();
            for (long n; (n = Linux.read(fd, buffer.address(), RELAY_BYTES)) > 0; ) {
              for (long i = 0; i < n; i++) {
                byte b = buffer.get(ValueLayout.JAVA_BYTE, i);
                if (b == '\n' || line.size() == RELAY_BYTES) {
                  messages.accept(line.toString(StandardCharsets.UTF_8));
                  line.reset();
                } else {
                  line.write(b);
                }
              }
            }
            if (line.size() > 0) {
              messages.accept(line.toString(StandardCharsets.UTF_8));
            }
          }
          Linux.close(fd);
        });
  }

  /**
   * The command up to the word {@code device}: what the launcher says, as it knows the AOT cache,
   * or else this JVM's own.
   */
  static List<String> prefix() {
    String given = System.getProperty("outboard.device.command");
    if (given != null) {
      return given.lines().toList();
    }
    List<String> command = new ArrayList<>();
    command.add(System.getProperty("java.home") + File.separator + "bin" + File.separator + "java");
    command.add("-XX:+UseSerialGC");
    command.add("-XX:-UsePerfData");
    String kernel = System.getProperty("outboard.kernel");
    if (kernel != null) {
      command.add("-Doutboard.kernel=" + kernel);
    }
    String modules = System.getProperty("jdk.module.path");
    if (modules != null) {
      command.add("--enable-native-access=" + String.join(",", NATIVE_MODULES));
      command.addAll(List.of("-p", modules, "-m", "dev.outboard.cli/" + Main.class.getName()));
    } else {
      command.add("--enable-native-access=ALL-UNNAMED");
      command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    }
    return command;
  }

  /** Our end of the link; whoever makes a link of it owns it from then on. */
  int linkFd() {
    return linkFd;
  }

  int pid() {
    return pid;
  }

  /** What the process is called in a report. */
  String role() {
    return role;
  }

  /**
   * Waits until the device, whose link is closed, has given back all that others can notice.
   *
   * @return whether it has; if not, it still sends what the program had left to be sent
   */
  boolean awaitEnd(Duration limit) {
    try {
      if (Boolean.getBoolean("outboard.training")) {
        // The JVM writes its AOT cache as it ends.
        return reaper.join(TRAINING_PATIENCE);
      }
      // It closes its end of the pipe when it is done; what it started may hold that open for
      // longer.
      long deadline = System.nanoTime() + limit.toNanos();
      while (relay.isAlive() && reaper.isAlive()) {
        if (System.nanoTime() - deadline > 0) {
          return false;
        }
        relay.join(LOOK);
      }
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return true;
    }
  }

  /** The same for one that has failed: why it has is in the pipe still, when its end is seen. */
  void awaitLastWords() {
    awaitEnd(PATIENCE);
    try {
      relay.join(LAST_WORDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The same for as long as it may take; kills it if it does not end. */
  void awaitEnd() {
    if (!awaitEnd(DELIVERY.plus(PATIENCE))) {
      Linux.syscall(SyscallNumbers.KILL, pid, Processes.SIG_KILL, 0);
    }
  }
}
