// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.SlotLayout;
import dev.outboard.posix.Uninterrupted;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * What a session's programs have sent ahead and found no room in its socket's buffer.
 *
 * <p>Credits see to it that there is room; but the device's kernel may be short of memory, and a
 * socket's buffer may be another process's, too. Then the rest of the bytes stays here, in order,
 * and its file in use: so a close waits for it. A thread that lives as long as there are any sends
 * them as room comes. The file's other sends come behind them.
 *
 * <p>Sends that follow each other are kept as one where that is not too long: a process could make
 * very many of a byte each. Credits are for streams alone, where nobody can tell.
 *
 * <p>Any thread with a task may call any method.
 */
final class Rests {
  /**
   * The most bytes of a file, far more than its credits; what is beyond comes from who has none.
   */
  static final int MAX_BYTES = 256 * 1024;

  /** How long to wait for room before all files are tried. */
  private static final long PAUSE_NANOS = 20_000_000;

  private static final long LEAST_PAUSE_NANOS = 200_000;

  /** How many files are waited for at a time; others come after the pause. */
  private static final int MAX_POLLED = 512;

  /** The most bytes that are sent at a time. */
  private static final int PIECE_BYTES = SlotLayout.AHEAD_BYTES;

  /** Two that follow each other have more than the bytes of one: else they would be one. */
  static final int MAX_PIECES = 2 * MAX_BYTES / PIECE_BYTES + 1;

  private static final class Piece {
    private byte[] bytes;
    private int length;
    private int flags;

    Piece(byte[] bytes, int flags) {
      this.bytes = bytes;
      this.length = bytes.length;
      this.flags = flags;
    }

    /** Puts a send's bytes behind these; false if they are too many for one. */
    boolean append(MemorySegment data, int flags) {
      int more = (int) data.byteSize();
      if (more > PIECE_BYTES - length) {
        return false;
      }
      if (length + more > bytes.length) {
        bytes = Arrays.copyOf(bytes, Math.min(PIECE_BYTES, 2 * (length + more)));
      }
      MemorySegment.copy(data, ValueLayout.JAVA_BYTE, 0, bytes, length, more);
      length += more;
      // A stream's bytes may leave early, and not late.
      this.flags &= flags | ~Socket.MSG_MORE;
      return true;
    }
  }

  /** What is left of one file's sends; guarded by itself. */
  static final class Rest {
    private final ArrayDeque<Piece> pieces = new ArrayDeque<>();
    private int at;
    private int bytes;
    private int shutdown = -1;
    private boolean over;

    /** Pieces of memory that hold what is kept. */
    synchronized int pieces() {
      return pieces.size();
    }
  }

  private final Kernel kernel;
  private final Handles handles;
  private final Readiness readiness;
  private final Session session;
  private final Function<Runnable, Thread> starter;

  // Guarded by this.
  private final List<Handles.Handle> waiting = new ArrayList<>();
  private @Nullable Thread sender;
  private boolean givenUp;

  /**
   * @param starter starts a thread that runs this, as {@link #start}
   */
  Rests(
      Session session,
      Kernel kernel,
      Handles handles,
      Readiness readiness,
      Function<Runnable, Thread> starter) {
    this.session = session;
    this.starter = starter;
    this.kernel = kernel;
    this.handles = handles;
    this.readiness = readiness;
  }

  /**
   * Keeps what found no room of a send, if a file has nothing kept. The caller has entered the
   * handle, and is the only one that drains a ring with sends on it.
   */
  void begin(Handles.Handle handle, MemorySegment data, int flags) {
    if (!add(handle, data, flags)) {
      Rest rest = new Rest();
      append(rest, data, flags);
      handles.use(handle);
      handle.rest = rest;
      synchronized (this) {
        waiting.add(handle);
        if (sender == null) {
          sender = starter.apply(this::run);
        }
      }
    }
  }

  /** Starts what sends what is kept. */
  static Thread start(Runnable sender) {
    return Thread.ofPlatform().name("sender").daemon(true).start(sender);
  }

  /**
   * Keeps a send behind what is kept.
   *
   * @return false if nothing is: then it is to be sent
   */
  boolean add(Handles.Handle handle, MemorySegment data, int flags) {
    Rest rest = handle.rest;
    if (rest == null) {
      return false;
    }
    synchronized (rest) {
      if (rest.over) {
        return false;
      }
      append(rest, data, flags);
      return true;
    }
  }

  private static void append(Rest rest, MemorySegment data, int flags) {
    if (rest.bytes + data.byteSize() > MAX_BYTES) {
      return;
    }
    Piece last = rest.pieces.peekLast();
    if (last == null || !last.append(data, flags)) {
      rest.pieces.add(new Piece(data.toArray(ValueLayout.JAVA_BYTE), flags));
    }
    rest.bytes += (int) data.byteSize();
  }

  /**
   * Sends what is kept of a file, as far as there is room.
   *
   * @return whether nothing is kept any more
   */
  boolean push(Handles.Handle handle) {
    Rest rest = handle.rest;
    if (rest == null) {
      return true;
    }
    MemorySegment block = kernel.allocate();
    if (block == null) {
      return false;
    }
    try {
      return push(handle, rest, block);
    } finally {
      kernel.free(block);
    }
  }

  private boolean push(Handles.Handle handle, Rest rest, MemorySegment block) {
    synchronized (rest) {
      Piece piece;
      while ((piece = rest.pieces.peek()) != null) {
        int bytes = piece.length - rest.at;
        MemorySegment.copy(piece.bytes, rest.at, block, ValueLayout.JAVA_BYTE, 0, bytes);
        long r = SendsAhead.send(kernel, handle.fd, block.address(), bytes, piece.flags);
        if (r == -Errno.EAGAIN) {
          return false;
        }
        if (r < 0) {
          handle.fail(r);
          rest.pieces.clear();
        } else if (r < bytes) {
          rest.at += (int) r;
        } else {
          rest.at = 0;
          rest.bytes -= piece.length;
          rest.pieces.remove();
        }
      }
      if (!rest.over && rest.shutdown >= 0) {
        kernel.syscall(Canonical.SHUTDOWN, handle.fd, rest.shutdown, 0, 0, 0, 0);
      }
      rest.over = true;
      if (handle.rest == rest) {
        handle.rest = null;
      }
      readiness.touched(handle);
      return true;
    }
  }

  /**
   * Shuts a file down when what is kept of it is sent.
   *
   * @return false if nothing is: then the caller does it
   */
  boolean shutdown(Handles.Handle handle, int how) {
    Rest rest = handle.rest;
    if (rest == null) {
      return false;
    }
    synchronized (rest) {
      if (rest.over) {
        return false;
      }
      rest.shutdown = how;
      return true;
    }
  }

  /** Waits until nothing is kept, for a bounded time; then what is left is thrown away. */
  void finish(long nanos) {
    synchronized (this) {
      Uninterrupted.waitUntil(this, nanos, () -> sender == null);
      givenUp = true;
      Uninterrupted.waitUntil(this, 2 * PAUSE_NANOS + nanos, () -> sender == null);
    }
  }

  private void run() {
    MemorySegment block = kernel.allocate();
    int tid = block == null ? -Errno.ENOMEM : kernel.enterTask(session.rootTid(), false);
    try {
      if (block != null && tid > 0) {
        serve(block);
      } else {
        // Its file's next send tries, or the next that finds no room.
        session.log("sending what found no room", new DeviceException(Errno.name(-tid)));
      }
    } catch (RuntimeException e) {
      session.log("sending what found no room", e);
    } finally {
      if (tid > 0) {
        kernel.leaveTask();
      }
      if (block != null) {
        kernel.free(block);
      }
      synchronized (this) {
        if (Thread.currentThread().equals(sender)) {
          sender = null;
        }
        notifyAll();
      }
    }
  }

  private void serve(MemorySegment block) {
    for (List<Handles.Handle> all = remaining(); !all.isEmpty(); all = remaining()) {
      List<Handles.Handle> done = new ArrayList<>();
      boolean end;
      synchronized (this) {
        end = givenUp;
      }
      for (Handles.Handle handle : all) {
        Rest rest = handle.rest;
        if (end || rest == null || push(handle, rest, block)) {
          done.add(handle);
        }
      }
      for (Handles.Handle handle : done) {
        synchronized (this) {
          waiting.remove(handle);
        }
        readiness.closeIfLast(handle);
      }
      all.removeAll(done);
      if (!all.isEmpty()) {
        awaitRoom(all, block);
        // Room that poll tells of may not be enough.
        LockSupport.parkNanos(LEAST_PAUSE_NANOS);
      }
    }
  }

  /** Those with something kept; if there are none, the thread is over. */
  private synchronized List<Handles.Handle> remaining() {
    if (waiting.isEmpty()) {
      sender = null;
      notifyAll();
    }
    return new ArrayList<>(waiting);
  }

  private void awaitRoom(List<Handles.Handle> all, MemorySegment block) {
    int count = Math.min(MAX_POLLED, all.size());
    for (int i = 0; i < count; i++) {
      Pollfds.set(block, 0, i, all.get(i).fd, Poll.POLLOUT);
    }
    Pollfds.poll(kernel, block, 0, count, PAUSE_NANOS);
  }
}
