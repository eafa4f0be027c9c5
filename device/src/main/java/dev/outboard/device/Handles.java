// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.BpfObject;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * The descriptors that a session has created, and no others: what its calls may name.
 *
 * <p>A session's table of descriptors also holds what is not the program's (the epoll of {@link
 * Readiness}), and with {@code --kernel host} it is the table of the whole device process, the
 * JVM's own files included. So a number from a call is looked up here first, and a handle is <i>in
 * use</i> from then until the call is over. A handle that is closed can no longer be looked up, but
 * its number stays taken in the kernel until its last user is out; that user closes it. So no call
 * ever reaches a file that got the number after the one it meant. It is also what Linux does: a
 * file that is closed while another thread is in a call on it lives on until that call is over.
 *
 * <p>Any thread may call any method.
 */
final class Handles {
  /** Of a {@link Handle}: nobody has asked for its protocol. */
  static final int UNKNOWN_PROTOCOL = Integer.MIN_VALUE;

  /** How many random numbers are drawn at a time. */
  private static final int BIRTHS = 256;

  /** Whether sends on a stream may end before they are made: {@link SendsAhead}. */
  enum Sends {
    UNKNOWN,
    AHEAD,
    /** Not on this connection. */
    WAIT,
    /** Something was done to the socket that would have it show. */
    NEVER
  }

  /** One descriptor. */
  static final class Handle {
    final int fd;

    /** What a slot that is lent must know to name it: random, so that only who was told knows. */
    final int birth;

    /** Calls under way, and one for being open; at 0 the descriptor is closed in the kernel. */
    private final AtomicInteger uses = new AtomicInteger(1);

    /** What {@link Readiness} knows of it; null while it is not watched. */
    volatile Readiness.@Nullable Watch watch;

    /** What it is of BPF. */
    volatile BpfObject object = BpfObject.NONE;

    /** The type of its socket; 0 until somebody has asked. */
    volatile int type;

    /** The protocol of its socket; negative if it has none. */
    volatile int protocol = UNKNOWN_PROTOCOL;

    /** Something was done to it after which MSG_PEEK does not find what a receive would. */
    volatile boolean unpeekable;

    /** It is an XDP socket. */
    volatile boolean xdp;

    /** It was a regular file when it was opened. */
    volatile boolean regular;

    /** Whether sends on it may go ahead. */
    volatile Sends sends = Sends.UNKNOWN;

    /** The only ring that may have sends on it. */
    volatile SendsAhead.@Nullable Ring ring;

    /** Calls under way that may take something out of its queue, but for those of lent slots. */
    private final AtomicInteger takers = new AtomicInteger();

    private final List<ShadowThread> givers = new ArrayList<>(0); // guarded by itself
    private volatile boolean gives;

    /** What may have something of it on offer: said before it is, and until it is taken back. */
    volatile @Nullable Peeks peeks;

    /** What was sent ahead and found no room; changed by {@link Rests}. */
    volatile Rests.@Nullable Rest rest;

    /** The error of a send that went ahead, which the socket has told; 0 if there is none. */
    private final AtomicInteger error = new AtomicInteger();

    private Handle(int fd, int birth) {
      this.fd = fd;
      this.birth = birth;
    }

    /** How many calls are under way, and one while it is open. */
    int uses() {
      return uses.get();
    }

    /** Claims the handle for what is about to offer something of it; false if another has. */
    synchronized boolean offers(Peeks by) {
      if (peeks != null) {
        return false;
      }
      peeks = by;
      return true;
    }

    /** Takes back what is on offer of it. The caller has entered it, and begins a call on it. */
    void settlePeeks() {
      Peeks by = peeks;
      if (by != null) {
        by.settle(this);
      }
    }

    /**
     * The same, but for what a reply has offered that may still be taken: of a caller who takes
     * nothing.
     */
    void settleLooks() {
      Peeks by = peeks;
      if (by != null) {
        by.settleLooks(this);
      }
    }

    /**
     * The caller, who has entered it, begins a call that may take something out of its queue: until
     * {@link #endTaking} nothing of it is offered.
     */
    void beginTaking() {
      takers.incrementAndGet();
      settlePeeks();
    }

    void endTaking() {
      takers.decrementAndGet();
    }

    /** What the caller has taken out of its queue may be with the host alone for a while. */
    void beginGiving(ShadowThread by) {
      synchronized (givers) {
        givers.add(by);
        gives = true;
      }
    }

    void endGiving(ShadowThread by) {
      synchronized (givers) {
        givers.remove(by);
        gives = !givers.isEmpty();
      }
    }

    /**
     * Whether somebody is between {@link #beginTaking} and {@link #endTaking}, or has taken
     * something that nobody has yet.
     */
    boolean isBeingTaken() {
      return takers.get() != 0 || isBeingGiven();
    }

    private boolean isBeingGiven() {
      if (!gives) {
        return false;
      }
      synchronized (givers) {
        givers.removeIf(by -> by.hasGiven(this));
        gives = !givers.isEmpty();
        return gives;
      }
    }

    /** What was found out of {@link #sends}, if nothing else is known by now. */
    synchronized void judge(Sends found) {
      if (sends != Sends.NEVER) {
        sends = found;
      }
    }

    /** Sends on it are waited for from now on. */
    synchronized void showsSends() {
      sends = Sends.NEVER;
    }

    /**
     * Keeps the error of a send that went ahead. EPIPE is no error of a socket: the next send finds
     * it again.
     */
    void fail(long result) {
      if (result < 0 && result != -Errno.EPIPE) {
        error.compareAndSet(0, (int) -result);
      }
    }

    /** Whether there is such an error. */
    boolean failed() {
      return error.get() != 0;
    }

    /** The error, once; 0 if there is none. */
    int takeError() {
      return error.get() == 0 ? 0 : error.getAndSet(0);
    }
  }

  private final AtomicReferenceArray<@Nullable Handle> open;
  private final AtomicInteger count = new AtomicInteger();
  private final int limit;
  private final int[] births = new int[BIRTHS]; // guarded by itself
  private int birthsLeft;

  /**
   * @param limit how many descriptors the session may have at a time
   * @param numbers descriptor numbers are below this
   */
  Handles(int limit, int numbers) {
    this.open = new AtomicReferenceArray<>(numbers);
    this.limit = limit;
  }

  /**
   * Takes note of a descriptor that a call of the session has just made.
   *
   * @return its handle; null if the session has too many, and the caller closes the descriptor
   */
  @Nullable Handle add(int fd) {
    if (fd >= open.length()) {
      return null;
    }
    if (count.incrementAndGet() > limit) {
      count.decrementAndGet();
      return null;
    }
    Handle handle = new Handle(fd, birth());
    open.set(fd, handle);
    return handle;
  }

  private int birth() {
    synchronized (births) {
      if (birthsLeft == 0) {
        byte[] bytes = new byte[BIRTHS * Integer.BYTES];
        Linux.random(bytes);
        ByteBuffer.wrap(bytes).asIntBuffer().get(births);
        birthsLeft = BIRTHS;
      }
      return births[--birthsLeft];
    }
  }

  /** The handle, in use from now on, or null if the session has none of this number. */
  @Nullable Handle enter(int fd) {
    if (fd < 0 || fd >= open.length()) {
      return null;
    }
    Handle handle = open.get(fd);
    if (handle == null) {
      return null;
    }
    AtomicInteger uses = handle.uses;
    for (; ; ) {
      int n = uses.get();
      if (n == 0) {
        return null;
      }
      if (uses.compareAndSet(n, n + 1)) {
        return handle;
      }
    }
  }

  /** Whether it can still be looked up. */
  boolean isOpen(Handle handle) {
    return open.get(handle.fd) == handle;
  }

  /** One use more of a handle that the caller has entered. */
  void use(Handle handle) {
    handle.uses.incrementAndGet();
  }

  /**
   * Ends a use.
   *
   * @return whether the caller must close the descriptor in the kernel, and then call {@link #gone}
   */
  boolean exit(Handle handle) {
    return handle.uses.decrementAndGet() == 0;
  }

  /**
   * Closes a handle that the caller has entered: it cannot be looked up any more. The caller's own
   * {@link #exit} and those of others decide who closes the descriptor.
   *
   * @return false if another has closed it already
   */
  boolean close(Handle handle) {
    if (!open.compareAndSet(handle.fd, handle, null)) {
      return false;
    }
    handle.uses.decrementAndGet();
    return true;
  }

  /** The kernel has closed a descriptor, as {@link #exit} asked. */
  void gone() {
    count.decrementAndGet();
  }

  /** Whether the session has as many as it may. */
  boolean full() {
    return count.get() >= limit;
  }

  /** Descriptors open in the kernel. */
  int count() {
    return count.get();
  }

  /** Numbers are below this. */
  int numbers() {
    return open.length();
  }
}
