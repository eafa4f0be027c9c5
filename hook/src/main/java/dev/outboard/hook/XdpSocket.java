// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Xdp;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.XdpFrame;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * What the program has of one XDP socket: four rings, memory for frames, and counts, kept as the
 * kernel keeps them that copies frames ({@code net/xdp/xsk.c}).
 *
 * <p>Everything in the rings is the program's to say; a descriptor that leads out of its memory is
 * counted as invalid. What comes from the device is checked likewise.
 *
 * <p>Any thread may call any method. All memory is given back by {@link #close}, after which there
 * are no rings.
 */
final class XdpSocket implements AutoCloseable {
  /** An XDP program has no more room before a frame. */
  private static final int MOST_BEFORE = Xdp.PACKET_HEADROOM;

  private static final int FILL_BYTES = Long.BYTES;

  /** Frames that one call sends at most; more take another. */
  private static final int MOST_FRAMES = 1024;

  /** The rings that a socket may have. */
  enum Kind {
    RECEIVE(Xdp.RX_RING, Xdp.PGOFF_RX_RING, Xdp.DESC_BYTES, true),
    SEND(Xdp.TX_RING, Xdp.PGOFF_TX_RING, Xdp.DESC_BYTES, false),
    FILL(Xdp.UMEM_FILL_RING, Xdp.PGOFF_FILL_RING, FILL_BYTES, false),
    COMPLETION(Xdp.UMEM_COMPLETION_RING, Xdp.PGOFF_COMPLETION_RING, FILL_BYTES, true);

    private final int option;
    private final long offset;
    private final int width;
    private final boolean produces;

    Kind(int option, long offset, int width, boolean produces) {
      this.option = option;
      this.offset = offset;
      this.width = width;
      this.produces = produces;
    }

    /** The one of an option, or null. */
    static @Nullable Kind ofOption(int option) {
      for (Kind k : values()) {
        if (k.option == option) {
          return k;
        }
      }
      return null;
    }

    /** The one that is mapped at an offset, or null. */
    static @Nullable Kind ofOffset(long offset) {
      for (Kind k : values()) {
        if (k.offset == offset) {
          return k;
        }
      }
      return null;
    }

    int width() {
      return width;
    }

    /** Makes one; null without the memory. */
    @Nullable XdpRing make(int entries) {
      return XdpRing.make(entries, width, produces);
    }
  }

  /** Hears of the end of a socket. */
  interface Ended {
    /**
     * It is closed.
     *
     * @param bytes all its rings had
     * @param hadMemory whether it had memory
     */
    void ended(long bytes, boolean hadMemory);
  }

  private final Ended ended;

  /** One call sends at a time, as natively. Taken before this object's own lock. */
  private final ReentrantLock sending = new ReentrantLock();

  // Guarded by this.
  private final Map<Kind, XdpRing> rings = new EnumMap<>(Kind.class);
  private @Nullable XdpMemory memory;
  private @Nullable XdpFeed feed;
  private boolean bound;
  private boolean closed;
  private boolean crowded;

  /** A chunk that was taken out of the fill ring, and has no frame. */
  private long spare = XdpMemory.NONE;

  private long dropped;
  private long full;
  private long fillEmpty;
  private long invalid;
  private long sendEmpty;

  // Of the frames that are being sent: how many, and where they are. Guarded by sending.
  private final long[] sent = new long[MOST_FRAMES];
  private int count;

  /**
   * @param ended called once, by {@link #close}
   */
  XdpSocket(Ended ended) {
    this.ended = ended;
  }

  /** Gives the socket a ring; false if it is closed. */
  synchronized boolean ring(Kind kind, XdpRing ring) {
    if (closed) {
      return false;
    }
    rings.put(kind, ring);
    if (kind == Kind.SEND) {
      ring.needsWakeup();
    }
    return true;
  }

  synchronized @Nullable XdpRing ring(Kind kind) {
    return rings.get(kind);
  }

  /**
   * The memory of a ring, for somebody who maps so many bytes of it.
   *
   * @return a descriptor, the caller's; -EINVAL if there is no ring, or it is not so long
   */
  synchronized int memoryOf(Kind kind, long size) {
    XdpRing ring = ring(kind);
    return ring == null || size > ring.bytes()
        ? -Errno.EINVAL
        : (int) Linux.fcntl(ring.fd(), Fcntl.F_DUPFD_CLOEXEC, 0);
  }

  synchronized boolean hasMemory() {
    return memory != null;
  }

  /** Gives the socket memory; false if it is closed. */
  synchronized boolean memory(XdpMemory given) {
    if (closed) {
      return false;
    }
    memory = given;
    return true;
  }

  synchronized boolean bound() {
    return bound;
  }

  /**
   * The socket is bound.
   *
   * @param by what brings its frames; null without a ring for them
   * @return false if it is closed
   */
  synchronized boolean bound(@Nullable XdpFeed by) {
    bound = !closed;
    feed = closed ? null : by;
    return bound;
  }

  synchronized @Nullable XdpFeed feed() {
    return feed;
  }

  // ---- receiving ----

  synchronized boolean holds() {
    XdpRing receive = ring(Kind.RECEIVE);
    return receive != null && receive.holds();
  }

  /**
   * Takes frames that the device has brought.
   *
   * @return whether the program has any of them now
   */
  synchronized boolean receive(MemorySegment data, long bytes) {
    XdpRing receive = ring(Kind.RECEIVE);
    XdpRing fill = ring(Kind.FILL);
    XdpMemory to = memory;
    if (receive == null || fill == null || to == null) {
      return false;
    }
    boolean more = false;
    for (long at = 0; at <= bytes - XdpFrame.HEADER_BYTES; ) {
      int length = data.get(ValueLayout.JAVA_INT, at + XdpFrame.LENGTH);
      int before = data.get(ValueLayout.JAVA_INT, at + XdpFrame.BEFORE);
      long room = bytes - at - XdpFrame.HEADER_BYTES;
      if (before < 0 || before > MOST_BEFORE || length <= 0 || length > room - before) {
        break;
      }
      MemorySegment frame = data.asSlice(at + XdpFrame.HEADER_BYTES, (long) before + length);
      more |= receive(receive, fill, to, before, length, frame);
      at += XdpFrame.bytes(before, length);
    }
    return more;
  }

  private boolean receive(
      XdpRing receive, XdpRing fill, XdpMemory to, int before, int length, MemorySegment frame) {
    if (length > to.longest()) {
      dropped++;
      return false;
    }
    long chunk = chunk(fill, to);
    if (chunk == XdpMemory.NONE) {
      dropped++;
      return false;
    }
    if (receive.available() == 0) {
      full++;
      spare = chunk;
      return false;
    }
    if (!to.write(chunk, before, frame)) {
      dropped++;
      spare = chunk;
      return false;
    }
    receive.set(0, 0, to.handle(chunk));
    receive.set(0, Xdp.DESC_LENGTH, Integer.toUnsignedLong(length)); // and no options
    receive.advance(1);
    return true;
  }

  /** Where the next frame is to go. */
  private long chunk(XdpRing fill, XdpMemory to) {
    long chunk = spare;
    spare = XdpMemory.NONE;
    for (int n = chunk == XdpMemory.NONE ? fill.available() : 0; n > 0; n--) {
      chunk = to.chunk(fill.get(0, 0));
      fill.advance(1);
      if (chunk != XdpMemory.NONE) {
        return chunk;
      }
    }
    if (chunk == XdpMemory.NONE) {
      fillEmpty++;
    }
    return chunk;
  }

  // ---- sending ----

  /** Whether a call would find something to send. */
  synchronized boolean sends() {
    XdpRing send = ring(Kind.SEND);
    return bound && send != null && send.available() > 0;
  }

  /** A call found nothing to send, and said nothing else. */
  synchronized void sentNothing() {
    if (bound && ring(Kind.SEND) != null) {
      sendEmpty++;
    }
  }

  /**
   * Finds out whether so much waits to be sent that a poll does not show room for more.
   *
   * @return whether that is another answer than before
   */
  synchronized boolean crowds() {
    XdpRing send = ring(Kind.SEND);
    boolean before = crowded;
    crowded = send != null && send.available() > send.entries() / 2;
    return crowded != before;
  }

  /** What {@link #crowds} found last. */
  synchronized boolean crowded() {
    return crowded;
  }

  /**
   * Sends what is in the ring, as far as the device takes it.
   *
   * @param handle the socket's
   * @param flags of the call that says so
   * @return 0 or {@code -errno}
   */
  long send(Notification n, DeviceCalls calls, int handle, int flags) {
    sending.lock();
    try {
      long r = calls.begin(n);
      if (r < 0) {
        return r;
      }
      try {
        return send(n, calls, n.slot().call(), handle, flags);
      } finally {
        calls.end(n);
      }
    } finally {
      sending.unlock();
    }
  }

  private long send(Notification n, DeviceCalls calls, Call c, int handle, int flags) {
    // As many as a ring has, and no more for a program that fills it meanwhile.
    for (int left = entries(); left > 0; ) {
      c.start(PseudoCall.XDP_SEND);
      long bytes = collect(c.data, left);
      if (bytes == 0) {
        return 0;
      }
      c.args[0] = handle;
      c.args[1] = bytes;
      c.args[2] = flags;
      c.toDevice = bytes;
      c.extent = bytes;
      long r = calls.execute(n, n.slot());
      if (r == DeviceCalls.AGAIN) {
        continue;
      }
      if (r <= 0) {
        return r;
      }
      int done = (int) Math.min(r, count);
      complete(done);
      left -= done;
    }
    return 0;
  }

  private synchronized int entries() {
    XdpRing send = ring(Kind.SEND);
    return send == null ? 0 : send.entries();
  }

  /**
   * Puts frames that are to be sent into a call's data, and what is wrong with the first one, if
   * anything is, behind it.
   *
   * @param most how many frames at most
   * @return how many bytes they take; 0 if there is none
   */
  synchronized long collect(MemorySegment data, int most) {
    XdpRing send = ring(Kind.SEND);
    XdpRing completion = ring(Kind.COMPLETION);
    XdpMemory from = memory;
    count = 0;
    if (send == null || completion == null || from == null || !bound) {
      return 0;
    }
    int waiting = send.available();
    if (waiting == 0) {
      sendEmpty++;
      return 0;
    }
    int n = Math.min(Math.min(waiting, completion.available()), Math.min(most, MOST_FRAMES));
    long at = 0;
    for (; count < n; count++) {
      long handle = send.get(count, 0);
      int length = send.getInt(count, Xdp.DESC_LENGTH);
      long frame = from.frame(handle, length, send.getInt(count, Xdp.DESC_OPTIONS));
      long end = frame == XdpMemory.NONE ? at : at + XdpFrame.bytes(0, length);
      if (end > data.byteSize()) {
        break;
      }
      if (frame == XdpMemory.NONE
          || !from.read(frame, data.asSlice(at + XdpFrame.HEADER_BYTES, length))) {
        if (count == 0) {
          invalid++;
          sent[0] = handle;
          finish(send, completion, 1);
        }
        break; // It is dealt with when it is the first.
      }
      data.set(ValueLayout.JAVA_INT, at + XdpFrame.LENGTH, length);
      data.set(ValueLayout.JAVA_INT, at + XdpFrame.BEFORE, 0);
      sent[count] = handle;
      at = end;
    }
    return at;
  }

  /** The device has taken the first so many frames. */
  synchronized void complete(int done) {
    XdpRing send = ring(Kind.SEND);
    XdpRing completion = ring(Kind.COMPLETION);
    if (send != null && completion != null) {
      finish(send, completion, Math.min(done, completion.available()));
    }
  }

  private void finish(XdpRing send, XdpRing completion, int done) {
    for (int i = 0; i < done; i++) {
      completion.set(i, 0, sent[i]);
    }
    completion.advance(done);
    send.advance(done);
  }

  // ---- counts ----

  /**
   * Adds what is counted here to what the device has counted.
   *
   * @param s {@code struct xdp_statistics} of the device
   * @param whole whether it is all of that, and not what the first kernels had
   */
  synchronized void count(MemorySegment s, boolean whole) {
    add(s, Xdp.STATS_DROPPED, whole ? dropped : dropped + full);
    s.set(ValueLayout.JAVA_LONG, Xdp.STATS_TX_INVALID, invalid);
    if (whole) {
      add(s, Xdp.STATS_RING_FULL, full);
      s.set(ValueLayout.JAVA_LONG, Xdp.STATS_FILL_EMPTY, fillEmpty);
      s.set(ValueLayout.JAVA_LONG, Xdp.STATS_TX_EMPTY, sendEmpty);
    }
  }

  private static void add(MemorySegment s, int at, long more) {
    s.set(ValueLayout.JAVA_LONG, at, s.get(ValueLayout.JAVA_LONG, at) + more);
  }

  /** Its last descriptor is gone: gives back what it has, and ends its feed. */
  @Override
  public void close() {
    XdpFeed f;
    long bytes = 0;
    boolean hadMemory;
    synchronized (this) {
      if (closed) {
        return;
      }
      f = feed;
      hadMemory = memory != null;
      closed = true;
      bound = false;
      feed = null;
      for (XdpRing r : rings.values()) {
        bytes += r.bytes();
        r.close();
      }
      rings.clear();
      if (memory != null) {
        memory.close();
        memory = null;
      }
    }
    if (f != null) {
      f.stop();
    }
    ended.ended(bytes, hadMemory);
  }
}
