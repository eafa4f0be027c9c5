// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Stands between the two ends of a link, on this machine's loopback, and treats its connections as
 * a bad network does: cuts them in the middle of what crosses, ends them in order, lets one of the
 * ends believe that there still is one, changes a byte, is late, is deaf, and lets a connection
 * that its host has given up arrive behind the next one.
 */
public final class BreakingProxy implements AutoCloseable {
  private static final int CHUNK = 16 * 1024;
  private static final int LATE_MILLIS = 30;

  /** One connection in so many is overtaken by the next. */
  private static final int OVERTAKEN = 4;

  /** How long the next one may take. */
  private static final int OVERTAKING_MILLIS = 2000;

  /** What a host says on a connection over which its stream goes on: more than a handshake. */
  private static final int THROUGH_BYTES = 6000;

  /** One piece of what crosses in so many is late. */
  private static final int LATE_CHUNKS = 8;

  private final ServerSocket listener;
  private final int target;
  private final Random random;
  private final Set<Socket> open = ConcurrentHashMap.newKeySet();
  private final AtomicInteger breaks = new AtomicInteger();
  private final AtomicInteger connections = new AtomicInteger();
  private final AtomicInteger through = new AtomicInteger();
  private final AtomicInteger overtaken = new AtomicInteger();
  private volatile int meanBytes;
  private volatile boolean deaf;
  private volatile boolean away;

  /**
   * A proxy that does no harm yet.
   *
   * @param target the port on this machine that it leads to
   */
  public BreakingProxy(int target, long seed) {
    this.target = target;
    this.random = new Random(seed);
    try {
      this.listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    Thread.ofPlatform().daemon().name("proxy").start(this::accept);
  }

  public int port() {
    return listener.getLocalPort();
  }

  /**
   * From now on, connections break after so many bytes in the mean, what crosses is late now and
   * then, and one connection in four is overtaken by the next; 0: they do not.
   */
  public void breakAfter(int bytes) {
    meanBytes = bytes;
  }

  /** Whether nothing crosses, though nothing says so. */
  public void deaf(boolean on) {
    deaf = on;
  }

  /** Whether there is no way through: what there is ends, and what is new ends at once. */
  public void away(boolean on) {
    away = on;
    if (on) {
      open.forEach(BreakingProxy::cut);
    }
  }

  /** How many connections it has broken so far. */
  public int breaks() {
    return breaks.get();
  }

  /** How many connections had something to say to the target when a newer one was through. */
  public int overtaken() {
    return overtaken.get();
  }

  private int random(int bound) {
    synchronized (random) {
      return random.nextInt(bound);
    }
  }

  private void accept() {
    while (true) {
      try {
        Socket from = listener.accept();
        open.add(from);
        Thread.ofPlatform().daemon().name("proxied").start(() -> carry(from));
      } catch (IOException e) {
        return; // closed
      }
    }
  }

  private void carry(Socket from) {
    if (away) {
      cut(from);
      return;
    }
    boolean breaks = meanBytes > 0;
    if (breaks && random(4) == 0) {
      Eventually.pause(random(LATE_MILLIS));
    }
    try {
      Socket to = new Socket(InetAddress.getLoopbackAddress(), target);
      open.add(to);
      from.setTcpNoDelay(true);
      to.setTcpNoDelay(true);
      if (breaks && connections.incrementAndGet() % OVERTAKEN == 0) {
        beOvertaken(from, to);
        return;
      }
      Thread.ofPlatform().daemon().name("proxied-back").start(() -> pump(to, from, false));
      pump(from, to, true);
    } catch (IOException e) {
      cut(from);
    }
  }

  /** Keeps how a connection begins, cuts the host off, and hands it on when the next is through. */
  private void beOvertaken(Socket from, Socket to) {
    Thread.ofPlatform().daemon().name("overtaken-back").start(() -> drain(to));
    try (from;
        to) {
      byte[] bytes = new byte[CHUNK];
      int kept = from.getInputStream().read(bytes);
      int before = through.get();
      cut(from);
      long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(OVERTAKING_MILLIS);
      while (through.get() == before && System.nanoTime() < deadline) {
        Eventually.pause(1);
      }
      if (kept > 0) {
        to.getOutputStream().write(bytes, 0, kept);
        overtaken.addAndGet(through.get() == before ? 0 : 1);
      }
      Eventually.pause(LATE_MILLIS); // the target answers before it finds out
    } catch (IOException e) {
      // One of the two ends has had enough.
    } finally {
      open.remove(from);
      open.remove(to);
    }
  }

  /** Takes an answer for which there is nobody any more. */
  private static void drain(Socket from) {
    byte[] bytes = new byte[CHUNK];
    try {
      while (from.getInputStream().read(bytes) > 0) {
        // It is lost.
      }
    } catch (IOException e) {
      // It was cut off in between.
    }
  }

  private void pump(Socket from, Socket to, boolean there) {
    byte[] bytes = new byte[CHUNK];
    long left = Long.MIN_VALUE;
    long carried = 0;
    try (from;
        to) {
      InputStream in = from.getInputStream();
      OutputStream out = to.getOutputStream();
      for (int n; (n = in.read(bytes)) > 0; ) {
        while (deaf) {
          Eventually.pause(5);
        }
        int mean = meanBytes;
        if (mean > 0 && random(LATE_CHUNKS) == 0) {
          Eventually.pause(random(LATE_MILLIS));
        }
        if (there && carried < THROUGH_BYTES && carried + n >= THROUGH_BYTES) {
          through.incrementAndGet();
        }
        carried += n;
        if (mean == 0) {
          left = Long.MIN_VALUE;
        } else if (left == Long.MIN_VALUE) {
          left = random(2 * mean);
        }
        if (left != Long.MIN_VALUE && left < n) {
          breaks.incrementAndGet();
          if (!breakNow(bytes, n, (int) left, from, to)) {
            return;
          }
          left = Long.MAX_VALUE; // TLS ends it
        } else {
          out.write(bytes, 0, n);
          left = left == Long.MIN_VALUE || left == Long.MAX_VALUE ? left : left - n;
        }
      }
    } catch (IOException e) {
      // One of the two ends has had enough.
    } finally {
      open.remove(from);
      open.remove(to);
    }
  }

  /** Does harm within so many bytes; whether the connection is to go on. */
  private boolean breakNow(byte[] bytes, int n, int at, Socket from, Socket to) throws IOException {
    OutputStream out = to.getOutputStream();
    switch (random(5)) {
      case 0 -> { // a byte is another one
        bytes[at] ^= (byte) (1 << random(8));
        out.write(bytes, 0, n);
        return true;
      }
      case 1 -> { // in order, as a machine that restarts does
        out.write(bytes, 0, at);
      }
      case 2 -> { // the sender knows nothing of it yet
        out.write(bytes, 0, at);
        cut(to);
        Eventually.pause(random(LATE_MILLIS));
      }
      case 3 -> { // the receiver knows nothing of it yet
        out.write(bytes, 0, at);
        cut(from);
        Eventually.pause(random(LATE_MILLIS));
      }
      default -> {
        out.write(bytes, 0, at);
        cut(from);
        cut(to);
      }
    }
    return false;
  }

  /** Ends a connection by a reset; what is under way is lost. */
  private static void cut(Socket socket) {
    try {
      socket.setSoLinger(true, 0);
      socket.close();
    } catch (IOException e) {
      // It is gone already.
    }
  }

  @Override
  public void close() {
    try {
      listener.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    deaf = false;
    open.forEach(BreakingProxy::cut);
  }
}
