// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * A Unix socket on which links arrive.
 *
 * <p>One thread calls {@link #accept}; {@link #stop} may be called by any, and lets it return;
 * {@link #close} comes after that.
 */
public final class UnixListener implements AutoCloseable {
  private static final int PATH_BYTES = 108;
  private static final int BACKLOG = 64;

  /** How long to wait for descriptors or memory that this process lacks. */
  private static final long REST_MILLIS = 100;

  private static final int POLLFD_BYTES = 8;

  private final int fd;
  private final @Nullable Path path;
  private final int stopped; // an event descriptor

  private UnixListener(int fd, @Nullable Path path) {
    this.fd = fd;
    this.path = path;
    this.stopped = (int) Linux.eventfd(File.EFD_CLOEXEC);
    // Who was to be accepted may be gone again: then accept would wait for the next.
    Linux.fcntl(fd, Fcntl.F_SETFL, Linux.fcntl(fd, Fcntl.F_GETFL, 0) | Fcntl.O_NONBLOCK);
  }

  /** A socket that somebody else has bound and listens on, and that stays where it is. */
  public static UnixListener inherited(int fd) {
    return new UnixListener(fd, null);
  }

  /**
   * Listens on a Unix socket that only this user may connect to. A socket file that no one listens
   * on any more is replaced; anything else at that path is left alone.
   *
   * @throws LinkException if the path cannot be used
   */
  public static UnixListener open(Path path) throws LinkException {
    byte[] name = path.toString().getBytes(StandardCharsets.UTF_8);
    if (name.length >= PATH_BYTES) {
      throw new LinkException("The socket path " + path + " is longer than 107 bytes.");
    }
    long fd = Linux.socket(Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    if (fd < 0) {
      throw new LinkException("No socket to listen on: " + Errno.name((int) -fd) + ".");
    }
    boolean done = false;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(2 + PATH_BYTES, 8);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_UNIX);
      MemorySegment.copy(name, 0, address, ValueLayout.JAVA_BYTE, 2, name.length);
      int length = 2 + name.length + 1;
      removeStale(path, address, length);
      // The file that bind makes has the socket's mode: there is no moment at which others may
      // connect.
      Linux.fchmod((int) fd, 0600);
      long r = Linux.bind((int) fd, address.address(), length);
      if (r == 0) {
        r = Linux.listen((int) fd, BACKLOG);
      }
      if (r < 0) {
        throw new LinkException("Cannot listen at " + path + ": " + Errno.name((int) -r) + ".");
      }
      done = true;
    } finally {
      if (!done) {
        Linux.close((int) fd);
      }
    }
    return new UnixListener((int) fd, path);
  }

  private static void removeStale(Path path, MemorySegment address, int length)
      throws LinkException {
    try {
      BasicFileAttributes file =
          Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      if (!file.isOther()) {
        throw new LinkException(path + " exists and is not a socket.");
      }
    } catch (IOException e) {
      return; // Nothing there; or bind will say what is wrong.
    }
    long probe = Linux.socket(Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    long r = Linux.connect((int) probe, address.address(), length);
    Linux.close((int) probe);
    if (r != -Errno.ECONNREFUSED) {
      throw new LinkException("A device listens at " + path + " already.");
    }
    try {
      Files.deleteIfExists(path);
    } catch (IOException e) {
      throw new LinkException("The stale socket " + path + " cannot be removed.", e);
    }
  }

  /**
   * Hands on every connection that arrives, until {@link #stop}.
   *
   * @param arrived takes a descriptor, which it owns from then on
   * @param log takes a line if connections must wait
   */
  public void accept(IntConsumer arrived, Consumer<String> log) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment polls = arena.allocate(2 * POLLFD_BYTES, 8);
      while (true) {
        polls.set(ValueLayout.JAVA_INT, 0, fd);
        polls.set(ValueLayout.JAVA_INT, 4, Poll.POLLIN);
        polls.set(ValueLayout.JAVA_INT, POLLFD_BYTES, stopped);
        polls.set(ValueLayout.JAVA_INT, POLLFD_BYTES + 4, Poll.POLLIN);
        Linux.poll(polls.address(), 2, -1);
        if (polls.get(ValueLayout.JAVA_SHORT, POLLFD_BYTES + 6) != 0) {
          return;
        }
        long r = Linux.accept4(fd, Socket.SOCK_CLOEXEC);
        if (r >= 0) {
          arrived.accept((int) r);
        } else if (r == -Errno.EMFILE || r == -Errno.ENFILE || r == -Errno.ENOMEM) {
          log.accept("no link accepted: " + Errno.name((int) -r));
          try {
            TimeUnit.MILLISECONDS.sleep(REST_MILLIS);
          } catch (InterruptedException e) {
            return;
          }
        } else if (r != -Errno.EAGAIN && r != -Errno.EINTR && r != -Errno.ECONNABORTED) {
          return; // shut down by whoever else has it
        }
      }
    }
  }

  /**
   * Takes no more connections. A socket of ours refuses them from then on; at an inherited one they
   * wait for whoever takes it next.
   */
  public void stop() {
    try (Arena arena = Arena.ofConfined()) {
      Linux.write(stopped, arena.allocateFrom(ValueLayout.JAVA_LONG, 1).address(), Long.BYTES);
    }
    if (path != null) {
      Linux.shutdown(fd, Socket.SHUT_RDWR);
    }
  }

  /** Gives the socket back, and the file if it is ours. */
  @Override
  public void close() {
    Linux.close(fd);
    Linux.close(stopped);
    if (path != null) {
      try {
        Files.deleteIfExists(path);
      } catch (IOException e) {
        // Whoever listens there next replaces it.
      }
    }
  }
}
