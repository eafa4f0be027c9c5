// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A stream over connections that break: every byte arrives once and in order, as long as within
 * {@code patience} after each break there is another connection.
 *
 * <p>Each end keeps what it has written until the other says that it has it, at most {@link
 * #RING_BYTES}; a writer waits for room. On a connection come records:
 *
 * <pre>
 *   length u32, received u64, bytes     length: of the bytes, at most {@link #MAX_RECORD_BYTES};
 *                                       received: bytes that the sender has got in all
 *   0xffffffff, received u64            the sender has ended the stream
 * </pre>
 *
 * <p>The reader of the stream also takes it up again. It must not write, but by {@link #offer}:
 * room for what is written comes by what it reads. A thread of this object sends again what was
 * lost, and says what has arrived if nothing else is sent for long.
 */
final class ResumableWire implements Wire {
  static final int RING_BYTES = 4 << 20;
  static final int MAX_RECORD_BYTES = 128 * 1024;
  static final int HEADER_BYTES = 12;
  private static final int END = -1;

  /** How long the other end may take to fetch the last bytes. */
  private static final Duration LINGER = Duration.ofSeconds(10);

  /** What is kept stays for so long at most. */
  private static final long KEPT_NANOS = 4_000_000;

  /** So much is sent by a reader at once. */
  private static final int LITTLE_BYTES = 4096;

  private static final int NEARLY_DONE_MILLIS = 200;
  private static final Duration PARTING = Duration.ofSeconds(1);
  private static final ByteBuffer NOTHING = ByteBuffer.allocateDirect(0);

  private final Renewal renewal;
  private final Duration patience;
  private final LinkEvents events;
  private final Thread sender;

  private final ByteBuffer ring;
  private final int capacity;

  /** After so many bytes the other end is told, though there is nothing else to send. */
  private final int tellBytes;

  // Guarded by this; a connection is put in place by the reader alone.
  private @Nullable Connection connection;
  private long heard;
  private long written;
  private long acknowledged;
  private boolean stopped;
  private boolean finishing;
  private long finishedAt;
  private String broken = "";
  private long brokenAt;

  // Says to the sender that there is something to be done; not a condition of the monitor, or each
  // byte that arrives would wake it.
  private final Semaphore work = new Semaphore(0);

  /** There is something that was put and may not have been sent, for which nobody will come. */
  private volatile boolean kept;

  /** The sender looks now and then whether there is; while it does, it is not to be told. */
  private volatile boolean looksForKept;

  // Who has the lock uses the connection to write. Taken before the monitor.
  private final ReentrantLock sending = new ReentrantLock();
  private final ByteBuffer header =
      ByteBuffer.allocateDirect(HEADER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private volatile long sent;

  /** The most that has been sent before the last time that it was begun again. */
  private long reached;

  private volatile long told;
  private volatile boolean endSent;

  // The reader's.
  private volatile long received;
  private final ByteBuffer head = ByteBuffer.allocate(HEADER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private int left;
  private boolean ended;

  /**
   * A stream that begins on a connection of which nothing has been read or written as a record.
   *
   * @param patience how long to wait for another connection after a break; zero: not at all
   */
  ResumableWire(Connection first, Renewal renewal, Duration patience, LinkEvents events) {
    this(first, renewal, patience, events, RING_BYTES);
  }

  /** With another capacity, which is the same at both ends. */
  ResumableWire(
      Connection first, Renewal renewal, Duration patience, LinkEvents events, int ringBytes) {
    this.connection = first;
    this.renewal = renewal;
    this.patience = patience;
    this.events = events;
    this.capacity = ringBytes;
    this.tellBytes = ringBytes / 4;
    this.ring = Arena.ofAuto().allocate(ringBytes, 64).asByteBuffer();
    this.heard = System.nanoTime();
    this.sender = Thread.ofPlatform().daemon().name("link-sender").start(this::sendWhatIsLeft);
  }

  // --- writing
  // ------------------------------------------------------------------------------------

  @Override
  public void write(ByteBuffer from) throws IOException {
    put(from);
    flush();
  }

  @Override
  public void put(ByteBuffer from) throws IOException {
    take(from);
    while (from.hasRemaining()) {
      flush(); // or there would be no room again
      take(from);
    }
  }

  @Override
  public boolean gathers() {
    return true;
  }

  @Override
  public void keep() {
    kept = true;
    if (!looksForKept) {
      work.release();
    }
  }

  @Override
  public void push() {
    flush();
  }

  @Override
  public synchronized boolean offers(int bytes) {
    return !stopped && !finishing && capacity - (written - acknowledged) >= bytes;
  }

  @Override
  public boolean offer(ByteBuffer from) {
    synchronized (this) {
      if (!offers(from.remaining())) {
        return false;
      }
      copy(from, from.remaining());
    }
    if (!sendsAtOnce()) {
      work.release();
    }
    return true;
  }

  /** Sends what there is, if that is little and takes no wait. */
  private boolean sendsAtOnce() {
    if (!sending.tryLock()) {
      return false;
    }
    try {
      Connection c;
      long until;
      synchronized (this) {
        c = connection;
        until = written;
      }
      long from = sent;
      int at = (int) (from % capacity);
      int bytes = (int) (until - from);
      if (c == null || endSent || bytes > LITTLE_BYTES || at + bytes > capacity || !c.hasRoom()) {
        return false;
      }
      sent = until; // before it is: as in flush()
      return bytes == 0 || record(c, bytes, ring.slice(at, bytes));
    } finally {
      sending.unlock();
    }
  }

  /** Takes as much as there is room for, and waits until there is some. */
  private synchronized void take(ByteBuffer from) throws IOException {
    int enough = Math.min(from.remaining(), capacity / 4);
    while (capacity - (written - acknowledged) < enough && !stopped && !finishing) {
      await();
    }
    if (stopped) {
      throw new IOException("closed on this side");
    }
    if (finishing) {
      from.position(from.limit());
      return;
    }
    copy(from, (int) Math.min(capacity - (written - acknowledged), from.remaining()));
  }

  /** Takes so many bytes, for which there is room; who calls has the monitor. */
  private void copy(ByteBuffer from, int bytes) {
    for (int done = 0; done < bytes; ) {
      int at = (int) (written % capacity);
      int piece = Math.min(bytes - done, capacity - at);
      ring.put(at, from, from.position(), piece);
      from.position(from.position() + piece);
      written += piece;
      done += piece;
    }
  }

  /** Sends what has been written and not sent. Waits while another thread does that. */
  private void flush() {
    sending.lock();
    try {
      while (true) {
        Connection c;
        long until;
        boolean end;
        synchronized (this) {
          c = connection;
          until = written;
          end = finishing || stopped;
        }
        if (c == null) {
          return; // whoever takes the stream up again sends it
        }
        long from = sent;
        int at = (int) (from % capacity);
        int bytes = (int) Math.min(Math.min(until - from, MAX_RECORD_BYTES), capacity - at);
        if (endSent) {
          return;
        }
        boolean last = bytes == 0 && end;
        if (bytes == 0 && !last && received - told < tellBytes) {
          return;
        }
        // Before they are: the answer may be faster than this thread.
        sent = from + bytes;
        endSent = last;
        if (!record(c, last ? END : bytes, ring.slice(at, bytes))) {
          return;
        }
      }
    } finally {
      sending.unlock();
    }
  }

  /** Sends one record; who calls has {@link #sending}. False if the connection broke. */
  private boolean record(Connection c, int length, ByteBuffer bytes) {
    long got = received;
    header.clear();
    header.putInt(length).putLong(got).flip();
    try {
      c.write(header, bytes);
      told = got;
      return true;
    } catch (IOException e) {
      breaks(c, reason(e));
      return false;
    }
  }

  /** Sends what others may not wait for, and what has stayed here. Ends with the stream. */
  private void sendWhatIsLeft() {
    while (true) {
      awaitWork();
      work.drainPermits();
      boolean over;
      synchronized (this) {
        over = stopped;
      }
      flush();
      if (over) {
        Connection c;
        synchronized (this) {
          c = connection;
        }
        if (c != null) {
          c.close();
        }
        return;
      }
    }
  }

  /**
   * Waits until there is something to be sent. What is kept is left to others for a moment, and
   * while more of it comes this thread need not be woken for it.
   */
  private void awaitWork() {
    if (!kept) {
      looksForKept = false;
      // After that: whoever has kept something before may have taken it that this thread looks.
      if (!kept) {
        work.acquireUninterruptibly();
        if (!kept) {
          return;
        }
      }
      looksForKept = true;
    }
    kept = false;
    try {
      // What has been offered meanwhile is not left to others.
      work.tryAcquire(KEPT_NANOS, TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      throw new IllegalStateException("nobody interrupts who uses a link", e);
    }
  }

  // --- reading
  // ------------------------------------------------------------------------------------

  @Override
  public int read(ByteBuffer into) throws IOException {
    while (true) {
      Connection c;
      synchronized (this) {
        if (stopped) {
          throw new IOException("closed on this side");
        }
        c = connection;
      }
      if (ended) {
        return -1;
      }
      if (c == null) {
        resume();
        continue;
      }
      ByteBuffer bytes;
      try {
        bytes = c.read();
      } catch (IOException e) {
        breaksUnlessStopped(c, reason(e));
        continue;
      }
      if (bytes == null) {
        breaksUnlessStopped(c, "the other side closed the connection");
        continue;
      }
      synchronized (this) {
        heard = System.nanoTime();
      }
      if (left > 0) {
        int n = Math.min(Math.min(left, bytes.remaining()), into.remaining());
        into.put(into.position(), bytes, bytes.position(), n);
        into.position(into.position() + n);
        bytes.position(bytes.position() + n);
        left -= n;
        long got = received + n;
        received = got;
        if (got - told >= tellBytes) {
          work.release();
        }
        return n;
      }
      while (head.hasRemaining() && bytes.hasRemaining()) {
        head.put(bytes.get());
      }
      if (!head.hasRemaining()) {
        head.flip();
        header(c, head.getInt(), head.getLong());
        head.clear();
        if (finished()) {
          return -1;
        }
      }
    }
  }

  private void header(Connection c, int length, long peerReceived) throws IOException {
    if (length < END || length > MAX_RECORD_BYTES) {
      throw new IOException("the other side sent a record of " + length + " bytes");
    }
    acknowledge(peerReceived, sent);
    if (length != END) {
      left = length;
      return;
    }
    ended = true;
    // So that the other end need not wait: it reads, until this has come.
    if (sending.tryLock()) {
      try {
        record(c, 0, NOTHING.duplicate());
      } finally {
        sending.unlock();
      }
    }
  }

  private synchronized void acknowledge(long peerReceived, long most) throws IOException {
    if (peerReceived < acknowledged || peerReceived > most) {
      throw new IOException(
          "the other side says that it has "
              + peerReceived
              + " bytes, of "
              + acknowledged
              + " to "
              + most);
    }
    if (peerReceived > acknowledged) {
      acknowledged = peerReceived;
      notifyAll();
    }
  }

  /** Whether nothing is left to be done after {@link #finish}. */
  private synchronized boolean finished() {
    return finishing && endSent && acknowledged == written;
  }

  /** Waits for another connection and goes on with it. */
  private void resume() throws IOException {
    String why;
    long since;
    synchronized (this) {
      why = broken;
      since = brokenAt;
    }
    if (patience.isZero()) {
      throw new IOException(why);
    }
    events.broken(why);
    Renewal.Renewed renewed;
    try {
      renewed = renewal.renew(received, since + patience.toNanos());
    } catch (IOException e) {
      throw new IOException(why + ", and it could not be taken up again: " + e.getMessage(), e);
    }
    Connection c = renewed.connection();
    long again = 0;
    boolean installed = false;
    // Nobody has the lock for long: the connection that one may write to is closed.
    sending.lock();
    try {
      synchronized (this) {
        if (stopped) {
          throw new IOException("closed on this side");
        }
        // One that the network has brought late may have had it sent again, and to nobody.
        reached = Math.max(reached, sent);
        acknowledge(renewed.peerReceived(), reached);
        again = reached - renewed.peerReceived();
        sent = renewed.peerReceived();
        told = received;
        endSent = false;
        left = 0;
        head.clear();
        heard = System.nanoTime();
        connection = c;
        installed = true;
        notifyAll();
      }
    } finally {
      sending.unlock();
      if (installed) {
        work.release();
      } else {
        c.close();
      }
    }
    events.resumed(Duration.ofNanos(System.nanoTime() - since), again);
  }

  /** What {@link #stop} has ended for its reader still takes the last word of the sender. */
  private void breaksUnlessStopped(Connection c, String why) {
    synchronized (this) {
      if (stopped) {
        return;
      }
    }
    breaks(c, why);
  }

  /** A connection is of no use any more; whoever waits for it comes out. */
  void breaks(Connection c, String why) {
    synchronized (this) {
      if (c.equals(connection)) {
        connection = null;
        broken = why;
        brokenAt = System.nanoTime();
      }
      notifyAll();
    }
    c.close();
  }

  /** How many bytes the other end has said to have. */
  synchronized long acknowledged() {
    return acknowledged;
  }

  /** What the stream uses now; null while there is none. */
  synchronized @Nullable Connection connection() {
    return connection;
  }

  // --- ends
  // ---------------------------------------------------------------------------------------

  @Override
  public boolean silent(Duration limit) {
    Connection c;
    boolean late;
    boolean over;
    synchronized (this) {
      c = connection;
      long now = System.nanoTime();
      late = now - heard > limit.toNanos();
      boolean lingers = finishing && now - finishedAt > LINGER.toNanos();
      // The reader sees to it, but for one that is held up elsewhere.
      boolean gone = c == null && now - brokenAt > patience.plus(limit).toNanos();
      over = lingers || gone;
    }
    if (over) {
      stop();
    } else if (late && c != null) {
      breaks(c, "the other side has been silent for " + limit.toSeconds() + " s");
    }
    return true;
  }

  @Override
  public void finish() {
    synchronized (this) {
      if (!finishing) {
        finishing = true;
        finishedAt = System.nanoTime();
      }
      notifyAll();
    }
    work.release();
  }

  @Override
  public void stop() {
    Connection c;
    synchronized (this) {
      if (stopped) {
        return;
      }
      stopped = true;
      c = connection;
      notifyAll();
    }
    renewal.abandon();
    if (c != null) {
      // The sender says that this is the end, unless a writer is held up by the other side.
      if (nobodyWrites()) {
        try {
          c.stopReading();
        } finally {
          sending.unlock();
        }
      } else {
        c.close();
      }
    }
    work.release();
  }

  /** Takes {@link #sending}, but for a writer that is only about to be done. */
  private boolean nobodyWrites() {
    try {
      return sending.tryLock(NEARLY_DONE_MILLIS, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  @Override
  public void close() {
    stop();
    try {
      sender.join(PARTING);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    Connection c;
    synchronized (this) {
      c = connection;
    }
    if (c != null) {
      c.close();
    }
  }

  /** Waits for a change; who calls has the monitor. */
  private void await() {
    try {
      TimeUnit.MINUTES.timedWait(this, 1);
    } catch (InterruptedException e) {
      throw new IllegalStateException("nobody interrupts who uses a link", e);
    }
  }

  private static String reason(IOException e) {
    String message = e.getMessage();
    return "the connection failed: " + (message == null ? e.getClass().getSimpleName() : message);
  }
}
