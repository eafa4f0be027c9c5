// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Splice;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.Call;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * Pipes of the hook's own, through which bytes go into and out of the program's pipes.
 *
 * <p>A read or write of the hook on the program's pipe could block, since O_NONBLOCK belongs to the
 * program's open file; {@code splice(2)} and {@code tee(2)} between two pipes need not
 * (SPLICE_F_NONBLOCK), and tee takes nothing out.
 *
 * <p>Owns the pipes. All methods may be called by any thread; a pipe has one user at a time.
 */
final class SparePipes implements AutoCloseable {
  /** How many are kept for the next call. */
  private static final int KEPT = 8;

  /**
   * One pipe.
   *
   * @param out where it is read, and
   * @param in where it is written; neither blocks
   * @param bytes how many go in while it is empty
   */
  record Pipe(int out, int in, long bytes) {
    private void close() {
      Linux.close(out);
      Linux.close(in);
    }
  }

  private final @Nullable Pipe[] pipes = new @Nullable Pipe[KEPT];
  private int count;
  private boolean closed;

  /** An empty pipe, which the caller gives back; null if there are no descriptors or no memory. */
  @Nullable Pipe take() {
    synchronized (this) {
      if (count > 0) {
        Pipe p = pipes[--count];
        pipes[count] = null;
        return p;
      }
    }
    try (Arena a = Arena.ofConfined()) {
      MemorySegment ends = a.allocate(8, 4);
      if (Linux.pipe2(ends.address(), Fcntl.O_CLOEXEC | Fcntl.O_NONBLOCK) < 0) {
        return null;
      }
      int out = ends.get(ValueLayout.JAVA_INT, 0);
      int in = ends.get(ValueLayout.JAVA_INT, 4);
      // Refused to a user who has many pipes; a small one does, too.
      long bytes = Linux.fcntl(in, Fcntl.F_SETPIPE_SZ, Call.PIECE_BYTES);
      return new Pipe(out, in, bytes > 0 ? bytes : Linux.fcntl(in, Fcntl.F_GETPIPE_SZ, 0));
    }
  }

  /**
   * Ends the use of a pipe.
   *
   * @param empty whether nothing is left in it; else it is closed
   */
  void give(Pipe p, boolean empty) {
    synchronized (this) {
      if (empty && !closed && count < KEPT) {
        pipes[count++] = p;
        return;
      }
    }
    p.close();
  }

  /**
   * Puts bytes into a pipe of the program, without waiting and without losing count: what did not
   * go in is still the caller's.
   *
   * @param pipe a descriptor that the pipe is written by
   * @return how many went in; if none, EAGAIN as the pipe is full, EPIPE as nobody reads it, or
   *     another {@code -errno}
   */
  long put(int pipe, long address, long bytes) {
    Pipe own = take();
    if (own == null) {
      return -Errno.ENOMEM;
    }
    long put = 0;
    long inside = 0;
    long r = 0;
    while (put < bytes && r >= 0) {
      inside = Linux.write(own.in(), address + put, Math.min(bytes - put, own.bytes()));
      r = inside;
      while (inside > 0 && r > 0) {
        r = Linux.splice(own.out(), pipe, inside, Splice.SPLICE_F_NONBLOCK);
        if (r > 0) {
          inside -= r;
          put += r;
        }
      }
      if (r == 0) {
        break;
      }
    }
    give(own, inside == 0);
    return put > 0 ? put : r;
  }

  /**
   * Copies what is at the front of a pipe of the program, which keeps it.
   *
   * @param pipe a descriptor that the pipe is read by
   * @return how many bytes; 0 if it is empty and has no writer any more; EAGAIN if it is empty, or
   *     another {@code -errno}
   */
  long peek(int pipe, long address, long bytes) {
    Pipe own = take();
    if (own == null) {
      return -Errno.ENOMEM;
    }
    long there = Linux.tee(pipe, own.in(), bytes, Splice.SPLICE_F_NONBLOCK);
    long got = 0;
    long r = 1;
    // In several reads if it is a pipe of packets.
    while (got < there && r > 0) {
      r = Linux.read(own.out(), address + got, there - got);
      got += Math.max(r, 0);
    }
    give(own, got == Math.max(there, 0));
    return there <= 0 ? there : got > 0 ? got : r;
  }

  @Override
  public synchronized void close() {
    closed = true;
    while (count > 0) {
      Pipe p = pipes[--count];
      if (p != null) {
        p.close();
      }
    }
  }
}
