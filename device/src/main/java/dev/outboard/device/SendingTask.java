// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.channel.CarrierTask;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * The task of whoever carries a session: it sends, sets what holds sends back, and asks.
 *
 * <p>It must not be held up, as the session's calls come by its thread: it has nothing to do with
 * sockets whose sends may wait for other calls, as those of kTLS do for a {@code sendfile}.
 *
 * <p>{@link #end} and {@link #isInside} may be called by any thread.
 */
final class SendingTask implements CarrierTask {
  private static final long AGAIN_MILLIS = 2;

  /** {@code struct linger}: whether, and for how many seconds. */
  private static final int LINGER_BYTES = 8;

  private final Session session;
  private final Kernel kernel;

  // Guarded by this.
  private boolean used;
  private boolean over;
  private boolean inside;
  private int tid;

  // The thread's.
  private @Nullable MemorySegment own;

  private Handles.@Nullable Handle held;

  private final AtomicLong calls = new AtomicLong();

  SendingTask(Session session) {
    this.session = session;
    this.kernel = session.kernel();
  }

  @Override
  public boolean enter() {
    synchronized (this) {
      if (over || used) {
        return false;
      }
      used = true;
      inside = true;
    }
    own = kernel.allocate();
    int entered = own == null ? -Errno.ENOMEM : kernel.enterTask(session.rootTid(), false);
    if (entered <= 0 || session.joinGroup(entered) < 0) {
      leave(entered);
      return false;
    }
    synchronized (this) {
      tid = entered;
    }
    return true;
  }

  @Override
  public void leave() {
    int left;
    synchronized (this) {
      left = tid;
      tid = 0;
    }
    leave(left);
  }

  private void leave(int entered) {
    if (entered > 0) {
      kernel.leaveTask();
    }
    MemorySegment block = own;
    if (block != null) {
      own = null;
      kernel.free(block);
    }
    synchronized (this) {
      inside = false;
      notifyAll();
    }
  }

  /** How many it has made. */
  long calls() {
    return calls.get();
  }

  /** Whether there is a task. */
  synchronized boolean isInside() {
    return inside;
  }

  /**
   * Nobody becomes the task any more; waits until nobody is.
   *
   * @return whether that is so within {@code nanos}
   */
  boolean end(long nanos) {
    long deadline = System.nanoTime() + nanos;
    synchronized (this) {
      over = true;
      while (inside && System.nanoTime() < deadline) {
        if (tid > 0) {
          kernel.interrupt(tid);
        }
        try {
          wait(AGAIN_MILLIS);
        } catch (InterruptedException e) {
          throw new IllegalStateException("nobody interrupts a session", e);
        }
      }
      return !inside;
    }
  }

  @Override
  public long send(int handle, MemorySegment data, long count, int flags) {
    if (!hold(handle)) {
      return -Errno.EOPNOTSUPP;
    }
    try {
      long start = System.nanoTime();
      FlightEvents.CallEvent event = FlightEvents.beginCall();
      long sent =
          SendsAhead.send(
              kernel,
              held().fd,
              data.address(),
              Math.min(count, data.byteSize()),
              flags | Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL);
      made(PseudoCall.SEND, sent, start, event);
      return sent;
    } finally {
      release();
    }
  }

  @Override
  public boolean setOption(int handle, int name, int value) {
    if (!hold(handle)) {
      return false;
    }
    try {
      long start = System.nanoTime();
      FlightEvents.CallEvent event = FlightEvents.beginCall();
      MemorySegment scratch = own();
      scratch.set(ValueLayout.JAVA_INT, 0, value);
      long result =
          kernel.syscall(
              Canonical.SETSOCKOPT,
              held().fd,
              Socket.IPPROTO_TCP,
              name,
              scratch.address(),
              Integer.BYTES,
              0);
      made(Canonical.SETSOCKOPT, result, start, event);
      return true;
    } finally {
      release();
    }
  }

  private void made(int number, long result, long start, FlightEvents.@Nullable CallEvent event) {
    if (event != null) {
      event.session = session.id();
      event.call = number;
      event.result = result;
      event.bytes = Activity.bytes(number, result);
      event.commit();
    }
    session.activity().call(number, result, System.nanoTime() - start);
    calls.setRelease(calls.getPlain() + 1);
  }

  @Override
  public boolean hold(int handle) {
    Handles.Handle on = session.handles().enter(handle);
    if (on == null) {
      return false;
    }
    if (!isPlain(on)) {
      exit(on);
      return false;
    }
    held = on;
    return true;
  }

  @Override
  public void release() {
    Handles.Handle on = held();
    held = null;
    exit(on);
  }

  private Handles.Handle held() {
    return Objects.requireNonNull(held, "a handle that is held");
  }

  private MemorySegment own() {
    return Objects.requireNonNull(own, "the task's memory");
  }

  /**
   * Ends a use. If it was the last one this thread closes the descriptor, but does not linger for
   * it: whoever has closed the handle is out already.
   */
  private void exit(Handles.Handle on) {
    if (!session.handles().exit(on)) {
      return;
    }
    MemorySegment scratch = own();
    long lingers = SendsAhead.option(kernel, on.fd, Socket.SO_LINGER, LINGER_BYTES, scratch);
    if (lingers > 0 && scratch.get(ValueLayout.JAVA_INT, Integer.BYTES) > 0) {
      scratch.set(ValueLayout.JAVA_INT, 0, 0);
      kernel.syscall(
          Canonical.SETSOCKOPT,
          on.fd,
          Socket.SOL_SOCKET,
          Socket.SO_LINGER,
          scratch.address(),
          LINGER_BYTES,
          0);
    }
    session.readiness().closeLast(on);
  }

  /** Whether it is TCP, and has no options by which a send could have to wait for anybody. */
  private boolean isPlain(Handles.Handle on) {
    if (on.protocol == Handles.UNKNOWN_PROTOCOL) {
      on.protocol = (int) SendsAhead.option(kernel, on.fd, Socket.SO_PROTOCOL, own());
    }
    return on.protocol == Socket.IPPROTO_TCP && on.sends != Handles.Sends.NEVER;
  }
}
