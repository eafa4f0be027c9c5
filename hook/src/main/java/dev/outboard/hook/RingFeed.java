// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.DeviceLink;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.ReceivedMessage;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Fills one packet ring: a thread that takes packets out of the device's socket, many with a call,
 * and puts them into memory that the program has mapped.
 *
 * <p>The thread waits on the device for a packet, and no longer than until the ring has something
 * to do by itself. It owns a call slot, the ring's memory and descriptor, and one use of the open
 * file; all are given back when it ends. {@link #stop} makes it end, soon, and may be called by any
 * thread; all other methods, too, may be called by any.
 */
final class RingFeed {
  /** A look at the ring waits so long at most for what the device has received already. */
  private static final long LOOK_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

  /** So many calls take more out of a socket than any socket's buffer holds. */
  private static final int MOST_ROUNDS = 64;

  private static final long PAUSE_NANOS = TimeUnit.MILLISECONDS.toNanos(5);

  /** The bytes of a packet that are taken at most: all that a call's data have room for. */
  private static final long MOST_BYTES = Integer.MAX_VALUE;

  private final DeviceLink link;
  private final DeviceCalls calls;
  private final Readiness readiness;
  private final OpenFile file;
  private final Placeholder placeholder;
  private final CallSlot slot;
  private final PacketRing ring;
  private final RingPacket packet;
  private final int memory;
  private final Runnable ended;
  private final Thread thread;

  // Guarded by this.
  private boolean stopping;
  private boolean waiting;
  private boolean submitted;
  private long wanted;
  private long done;
  private int rounds;
  private int error;

  /** What PACKET_AUXDATA is for the program; for the device it is on. */
  private int auxiliary;

  /**
   * @param slot for this object alone
   * @param memory a descriptor of the ring's memory
   * @param ended called on the thread when all is given back
   */
  RingFeed(
      DeviceLink link,
      DeviceCalls calls,
      Readiness readiness,
      OpenFile file,
      Placeholder placeholder,
      CallSlot slot,
      PacketRing ring,
      RingPacket packet,
      int memory,
      int auxiliary,
      Runnable ended) {
    this.link = link;
    this.calls = calls;
    this.readiness = readiness;
    this.file = file;
    this.placeholder = placeholder;
    this.slot = slot;
    this.ring = ring;
    this.packet = packet;
    this.memory = memory;
    this.auxiliary = auxiliary;
    this.ended = ended;
    this.thread =
        Thread.ofPlatform().name("outboard-ring-" + file.handle()).daemon().unstarted(this::run);
  }

  /**
   * Begins: what the socket holds now is thrown away, as the kernel does when a ring is set up. The
   * caller holds a use of the file, which is this object's from here on.
   */
  void start() {
    drain();
    synchronized (this) {
      show(false);
    }
    thread.start();
  }

  RingRequest request() {
    return ring.request;
  }

  /** The descriptor of the ring's memory, as long as the feed has not ended. */
  int memory() {
    return memory;
  }

  synchronized int auxiliary() {
    return auxiliary;
  }

  synchronized void auxiliary(int value) {
    auxiliary = value;
  }

  /** As {@link PacketRing#takeDrops}. */
  synchronized int takeDrops() {
    return ring.takeDrops();
  }

  /** As {@link PacketRing#takeFreezes}. */
  synchronized int takeFreezes() {
    return ring.takeFreezes();
  }

  /** The socket's error that came in the place of packets, once; 0 for none. */
  synchronized int takeError() {
    int e = error;
    error = 0;
    return e;
  }

  /** What it fills the ring of. */
  Placeholder placeholder() {
    return placeholder;
  }

  /**
   * A thread of the program is about to look: shows whether the ring is readable.
   *
   * <p>What the device has received was in the ring at once, were this its own kernel; so if there
   * is nothing in it, what is on its way is waited for, as far as it is known of.
   *
   * @param n the look; null if nothing is to be waited for
   */
  void look(@Nullable Notification n) {
    if (n != null && !readable()) {
      if (placeholder.deviceReadable()) {
        n.willBlock();
        flush(LOOK_NANOS);
      }
      synchronized (this) {
        await(LOOK_NANOS, () -> !submitted || !slot.answered());
      }
    }
    synchronized (this) {
      if (!stopping) {
        ring.tick(System.nanoTime());
        show(false);
      }
    }
  }

  private synchronized boolean readable() {
    return stopping || error != 0 || ring.readable();
  }

  /** Puts into the ring what the device has received before this call. */
  void flush() {
    flush(TimeUnit.SECONDS.toNanos(1));
  }

  private synchronized void flush(long nanos) {
    long mine = ++wanted;
    if (waiting) {
      link.interrupt(slot);
    }
    await(nanos, () -> done >= mine);
  }

  private interface Test {
    boolean holds();
  }

  /** Under the lock. */
  private void await(long nanos, Test test) {
    long deadline = System.nanoTime() + nanos;
    boolean interrupted = false;
    while (!test.holds() && !stopping && thread.isAlive()) {
      long left = deadline - System.nanoTime();
      if (left <= 0) {
        break;
      }
      try {
        TimeUnit.NANOSECONDS.timedWait(this, Math.min(left, PAUSE_NANOS));
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Makes the thread end. */
  synchronized void stop() {
    stopping = true;
    if (waiting) {
      link.interrupt(slot);
    }
    notifyAll();
  }

  /** Waits until it has ended. */
  void join() {
    Uninterrupted.join(thread);
  }

  private void run() {
    try {
      int empty = 0;
      while (submit()) {
        awaitCall();
        long r = slot.result();
        empty = r == -Errno.EAGAIN ? empty + 1 : 0;
        if (!take(r)) {
          return;
        }
        // Ready, and nothing there: an error queue, which is none of ours. Do not run in circles.
        if (empty > 2 && r == -Errno.EAGAIN) {
          LockSupport.parkNanos(PAUSE_NANOS);
        }
      }
    } finally {
      synchronized (this) {
        stopping = true;
        notifyAll();
      }
      link.detach(slot);
      Linux.munmap(ring.memory.address(), ring.memory.byteSize());
      Linux.close(memory);
      calls.unuse(file);
      ended.run();
    }
  }

  /** Starts the next call; false at the end. */
  private synchronized boolean submit() {
    if (stopping) {
      return false;
    }
    waiting = wanted == done;
    submitted = true;
    Call c = slot.call();
    receive(c, waiting);
    slot.submit();
    return true;
  }

  private void receive(Call c, boolean waits) {
    c.start(PseudoCall.RECEIVE);
    c.args[0] = file.handle();
    c.args[1] = MOST_BYTES;
    c.args[2] = waits ? 1 : 0;
    c.carried = c.data.byteSize();
    c.receives = true;
  }

  private void awaitCall() {
    for (; ; ) {
      long due;
      synchronized (this) {
        due = ring.deadline();
      }
      long nanos = due == Long.MAX_VALUE ? due : Math.max(0, due - System.nanoTime());
      if (slot.await(nanos)) {
        return;
      }
      synchronized (this) {
        if (ring.tick(System.nanoTime())) {
          show(true);
        }
      }
    }
  }

  /** Takes what a call has brought; false if no other can bring more. */
  private synchronized boolean take(long r) {
    submitted = false;
    boolean waited = waiting;
    waiting = false;
    if (r > 0) {
      put(r);
    }
    if (!waited) {
      rounds++;
      if (r <= 0 || rounds >= MOST_ROUNDS) {
        done = wanted;
        rounds = 0;
      }
    }
    notifyAll();
    if (r >= 0 || r == -Errno.EAGAIN || r == -Errno.EINTR || r == -Errno.ERESTARTSYS) {
      return true;
    }
    if (link.lost() || r == -Errno.EBADF) {
      return false;
    }
    // The socket's own, such as ENETDOWN of its interface; it goes on all the same.
    error = (int) -r;
    readiness.ring(placeholder, true, true);
    return true;
  }

  private void put(long bytes) {
    MemorySegment data = slot.call().data;
    long end = Math.min(bytes, data.byteSize()) - ReceivedMessage.PAYLOAD;
    long now = System.nanoTime();
    boolean more = false;
    for (long at = 0; at <= end; ) {
      at = packet.read(data, at, MOST_BYTES, ring.request.prefix());
      more |= ring.put(packet, now);
    }
    if (more) {
      show(true);
    }
  }

  /** Under the lock. */
  private void show(boolean more) {
    readiness.ring(placeholder, error != 0 || ring.readable(), more);
  }

  private void drain() {
    for (int i = 0; i < MOST_ROUNDS; i++) {
      receive(slot.call(), false);
      slot.submit();
      slot.await(Long.MAX_VALUE);
      if (slot.result() <= 0) {
        return;
      }
    }
  }
}
