// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a service and systemd tell each other: sockets that it has bound ({@code sd_listen_fds(3)}),
 * and what state the service is in ({@code sd_notify(3)}). Without systemd nothing happens.
 */
public final class Systemd {
  private static final int FIRST_FD = 3;
  private static final int MOST_FDS = 16;
  private static final int PATH_BYTES = 108;

  /** {@code asm-generic/socket.h}. */
  private static final int SO_ACCEPTCONN = 30;

  private final Map<String, String> environment;

  /** As this process was started. */
  public static Systemd ofThisProcess() {
    return new Systemd(System.getenv());
  }

  Systemd(Map<String, String> environment) {
    this.environment = environment;
  }

  /** How many descriptors from 3 on this process was given. */
  public int handed() {
    return Integer.toString(Processes.getpid()).equals(environment.get("LISTEN_PID"))
        ? Math.min(number(environment.get("LISTEN_FDS")), MOST_FDS)
        : 0;
  }

  /** Sockets on which this process was given to listen; its own from here on. Called once. */
  public List<Integer> sockets() {
    List<Integer> sockets = new ArrayList<>();
    int count = handed();
    for (int i = 0; i < count; i++) {
      // Whoever says that it is there may err: then the number is a file of this JVM's.
      if (listens(FIRST_FD + i)) {
        Linux.fcntl(FIRST_FD + i, Fcntl.F_SETFD, Fcntl.FD_CLOEXEC);
        sockets.add(FIRST_FD + i);
      }
    }
    return sockets;
  }

  private static boolean listens(int fd) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment option = arena.allocate(8, 8);
      option.set(ValueLayout.JAVA_INT, 4, 4);
      long r =
          Linux.getsockopt(
              fd, Socket.SOL_SOCKET, SO_ACCEPTCONN, option.address(), option.address() + 4);
      return r == 0 && option.get(ValueLayout.JAVA_INT, 0) != 0;
    }
  }

  private static int number(@Nullable String text) {
    return text != null && text.matches("[0-9]{1,4}") ? Integer.parseInt(text) : 0;
  }

  /**
   * Tells systemd, if it wants to know.
   *
   * @param state such as {@code READY=1}
   */
  public void tell(String state) {
    String path = environment.get("NOTIFY_SOCKET");
    if (path == null || (!path.startsWith("/") && !path.startsWith("@"))) {
      return;
    }
    byte[] name = path.getBytes(StandardCharsets.UTF_8);
    if (name.length >= PATH_BYTES) {
      return;
    }
    if (name[0] == '@') {
      name[0] = 0;
    }
    long fd = Linux.socket(Socket.AF_UNIX, Socket.SOCK_DGRAM | Socket.SOCK_CLOEXEC, 0);
    if (fd < 0) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(2 + PATH_BYTES, 8);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_UNIX);
      MemorySegment.copy(name, 0, address, ValueLayout.JAVA_BYTE, 2, name.length);
      // An abstract name has no end but its length.
      int length = 2 + name.length + (name[0] == 0 ? 0 : 1);
      if (Linux.connect((int) fd, address.address(), length) == 0) {
        byte[] text = state.getBytes(StandardCharsets.UTF_8);
        MemorySegment data = arena.allocate(text.length);
        MemorySegment.copy(text, 0, data, ValueLayout.JAVA_BYTE, 0, text.length);
        Linux.send((int) fd, data.address(), text.length, Socket.MSG_NOSIGNAL);
      }
    } finally {
      Linux.close((int) fd);
    }
  }
}
