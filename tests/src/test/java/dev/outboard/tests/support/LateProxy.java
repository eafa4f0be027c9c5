// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;

/**
 * Stands between the two ends of a link, on this machine's loopback, and hands on what comes so
 * much later, in both directions, as a long way would.
 */
public final class LateProxy implements AutoCloseable {
  private static final int CHUNK = 64 * 1024;

  /** More than any link here carries in the longest delay. */
  private static final int CHUNKS_UNDER_WAY = 1024;

  private record Chunk(ByteBuffer bytes, long due) {}

  private final ServerSocket listener;
  private final int target;
  private final long delayNanos;
  private final Set<Socket> open = ConcurrentHashMap.newKeySet();

  /**
   * @param target the port on this machine that it leads to
   */
  public LateProxy(int target, Duration delay) {
    this.target = target;
    this.delayNanos = delay.toNanos();
    try {
      this.listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    Thread.ofPlatform().daemon().name("late").start(this::accept);
  }

  public int port() {
    return listener.getLocalPort();
  }

  private void accept() {
    while (true) {
      try {
        Socket from = listener.accept();
        Socket to = new Socket(InetAddress.getLoopbackAddress(), target);
        for (Socket s : new Socket[] {from, to}) {
          s.setTcpNoDelay(true);
          open.add(s);
        }
        carry(from, to);
        carry(to, from);
      } catch (IOException e) {
        return; // closed
      }
    }
  }

  private void carry(Socket from, Socket to) {
    BlockingQueue<Chunk> way = new ArrayBlockingQueue<>(CHUNKS_UNDER_WAY);
    Thread.ofPlatform().daemon().name("late-in").start(() -> take(from, way));
    Thread.ofPlatform().daemon().name("late-out").start(() -> give(to, way));
  }

  private void take(Socket from, BlockingQueue<Chunk> way) {
    byte[] bytes = new byte[CHUNK];
    try {
      try {
        InputStream in = from.getInputStream();
        for (int n; (n = in.read(bytes)) > 0; ) {
          way.put(
              new Chunk(ByteBuffer.wrap(Arrays.copyOf(bytes, n)), System.nanoTime() + delayNanos));
        }
      } catch (IOException e) {
        // As its end.
      }
      way.put(new Chunk(ByteBuffer.allocate(0), System.nanoTime() + delayNanos));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void give(Socket to, BlockingQueue<Chunk> way) {
    try {
      OutputStream out = to.getOutputStream();
      while (true) {
        Chunk chunk = way.take();
        for (long left; (left = chunk.due() - System.nanoTime()) > 0; ) {
          LockSupport.parkNanos(left);
        }
        if (!chunk.bytes().hasRemaining()) {
          to.shutdownOutput();
          return;
        }
        out.write(chunk.bytes().array());
      }
    } catch (IOException e) {
      // Nobody wants it any more.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    try {
      listener.close();
      for (Socket s : open) {
        s.close();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
