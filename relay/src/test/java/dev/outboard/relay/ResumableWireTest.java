// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.relay.Renewal.Renewed;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A stream over connections of the test's, which break where it pleases and lose what they hold.
 */
@Timeout(60)
class ResumableWireTest {
  private static final int RING = 64 * 1024;
  private static final Duration LONG = Duration.ofSeconds(30);

  /** One direction: at most so many bytes are under way. */
  private static final class Lane {
    private final byte[] bytes = new byte[20_000];
    private long in;
    private long out;
    private boolean broken;
    private boolean closed;
    private long breaksAt = Long.MAX_VALUE;

    synchronized void write(ByteBuffer from) throws IOException {
      while (from.hasRemaining()) {
        while (in - out == bytes.length && !broken && !closed) {
          pause();
        }
        if (in >= breaksAt) {
          broken = true;
          notifyAll();
        }
        if (broken || closed) {
          throw new IOException("broken");
        }
        bytes[(int) (in++ % bytes.length)] = from.get();
        notifyAll();
      }
    }

    synchronized @Nullable ByteBuffer read() throws IOException {
      while (in == out && !broken && !closed) {
        pause();
      }
      if (broken) {
        if ((in & 1) == 0) {
          throw new IOException("broken"); // and what was under way is lost
        }
        return null;
      }
      if (in == out) {
        return null;
      }
      ByteBuffer some = ByteBuffer.allocateDirect((int) (in - out));
      while (out < in) {
        some.put(bytes[(int) (out++ % bytes.length)]);
      }
      notifyAll();
      return some.flip();
    }

    synchronized void close(boolean andLose) {
      broken |= andLose;
      closed = true;
      notifyAll();
    }

    private void pause() {
      try {
        TimeUnit.SECONDS.timedWait(this, 1);
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  private static final class Pipe implements Connection {
    private final Lane in;
    private final Lane out;
    private ByteBuffer rest = ByteBuffer.allocateDirect(0);

    Pipe(Lane in, Lane out) {
      this.in = in;
      this.out = out;
    }

    @Override
    public @Nullable ByteBuffer read() throws IOException {
      if (!rest.hasRemaining()) {
        ByteBuffer some = in.read();
        if (some == null) {
          return null;
        }
        rest = some;
      }
      return rest;
    }

    @Override
    public void write(ByteBuffer first, ByteBuffer second) throws IOException {
      out.write(first);
      out.write(second);
    }

    @Override
    public void stopReading() {
      in.close(true);
    }

    @Override
    public void close() {
      in.close(true);
      out.close(false); // as TCP: what was sent may still arrive
    }
  }

  /** Both ends, and what lies between. */
  private static final class Net {
    private final Random random;
    private final int meanBytes;
    private final AtomicInteger breaks = new AtomicInteger();
    private final BlockingQueue<Offer> offers = new LinkedBlockingQueue<>();
    private volatile boolean down;
    final ResumableWire host;
    final ResumableWire device;

    private record Offer(Pipe pipe, long received, CompletableFuture<Long> answer) {}

    /**
     * @param meanBytes after which a connection breaks; 0 for never
     */
    Net(long seed, int meanBytes, Duration patience) {
      this.random = new Random(seed);
      this.meanBytes = meanBytes;
      Pipe[] first = pipes();
      host = new ResumableWire(first[0], new HostSide(), patience, LinkEvents.NONE, RING);
      device = new ResumableWire(first[1], new DeviceSide(), patience, LinkEvents.NONE, RING);
    }

    private Pipe[] pipes() {
      Lane there = new Lane();
      Lane back = new Lane();
      if (meanBytes > 0) {
        synchronized (random) {
          there.breaksAt = random.nextInt(2 * meanBytes);
          back.breaksAt = random.nextInt(2 * meanBytes);
        }
      }
      return new Pipe[] {new Pipe(back, there), new Pipe(there, back)};
    }

    private final class HostSide implements Renewal {
      private volatile boolean abandoned;

      @Override
      public Renewed renew(long received, long deadline) throws IOException {
        breaks.incrementAndGet();
        while (!abandoned && System.nanoTime() < deadline) {
          if (down) {
            sleep(5);
            continue;
          }
          Pipe[] pipes = pipes();
          CompletableFuture<Long> answer = new CompletableFuture<>();
          Connection before = device.connection();
          offers.add(new Offer(pipes[1], received, answer));
          if (before != null) {
            device.breaks(before, "another one");
          }
          try {
            return new Renewed(pipes[0], answer.get(1, TimeUnit.SECONDS));
          } catch (Exception e) {
            pipes[0].close();
          }
        }
        throw new IOException("too late");
      }

      @Override
      public void abandon() {
        abandoned = true;
      }
    }

    private final class DeviceSide implements Renewal {
      private volatile boolean abandoned;

      @Override
      public Renewed renew(long received, long deadline) throws IOException {
        while (!abandoned && System.nanoTime() < deadline) {
          Offer offer = poll();
          if (offer != null && offer.answer().complete(received)) {
            return new Renewed(offer.pipe(), offer.received());
          }
        }
        throw new IOException("too late");
      }

      private @Nullable Offer poll() {
        try {
          return offers.poll(5, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
          throw new IllegalStateException(e);
        }
      }

      @Override
      public void abandon() {
        abandoned = true;
      }
    }

    private static void sleep(long millis) {
      try {
        Thread.sleep(millis);
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  /** The n-th byte of a direction: no two places near each other look the same. */
  private static byte expected(long n, int salt) {
    long x = (n + salt) * 0x9e3779b97f4a7c15L;
    return (byte) (x >>> 56);
  }

  private static Thread writer(
      ResumableWire wire, long bytes, int salt, long seed, List<Throwable> failures) {
    return Thread.ofPlatform()
        .start(() -> {
          Random random = new Random(seed);
          try {
            for (long at = 0; at < bytes; ) {
              int n =
                  (int)
                      Math.min(bytes - at, 1 + random.nextInt(random.nextBoolean() ? 100 : 40_000));
              ByteBuffer some = ByteBuffer.allocateDirect(n);
              for (int i = 0; i < n; i++) {
                some.put(expected(at + i, salt));
              }
              wire.write(some.flip());
              at += n;
            }
          } catch (Throwable e) {
            failures.add(e);
          }
        });
  }

  /** Reads until the end, and says when it has all the bytes. */
  private static Thread reader(
      ResumableWire wire, long bytes, int salt, CountDownLatch all, List<Throwable> failures) {
    return Thread.ofPlatform()
        .start(() -> {
          try {
            ByteBuffer some = ByteBuffer.allocateDirect(30_000);
            long at = 0;
            if (bytes == 0) {
              all.countDown();
            }
            for (int n; (n = wire.read(some.clear())) > 0; at += n) {
              for (int i = 0; i < n; i++) {
                if (some.get(i) != expected(at + i, salt)) {
                  throw new AssertionError("byte " + (at + i));
                }
              }
              if (at + n == bytes) {
                all.countDown();
              }
            }
            assertThat(at).isEqualTo(bytes);
          } catch (Throwable e) {
            failures.add(e);
            all.countDown();
          }
        });
  }

  @Test
  void everyByteArrivesOnceAndInOrderWhateverBreaks() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    int breaks = 0;
    for (int round = 0; round < 4; round++) {
      Net net = new Net(seed + round, 30_000 << round, LONG);
      long bytes = 3_000_000;
      List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
      CountDownLatch all = new CountDownLatch(2);
      Thread here = reader(net.host, bytes, 2, all, failures);
      Thread there = reader(net.device, bytes, 1, all, failures);
      Thread one = writer(net.host, bytes, 1, seed, failures);
      Thread other = writer(net.device, bytes, 2, seed + 1, failures);
      one.join();
      other.join();
      all.await();
      // Both at once, over connections that break: the last bytes and the end, too.
      net.host.finish();
      net.device.finish();
      here.join();
      there.join();
      net.host.close();
      net.device.close();
      assertThat(failures).isEmpty();
      breaks += net.breaks.get();
    }
    assertThat(breaks).isGreaterThan(50);
  }

  @Test
  void aWriterWaitsWhileThereIsNoConnectionAndGoesOn() throws Exception {
    Net net = new Net(1, 0, LONG);
    net.down = true;
    List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch all = new CountDownLatch(2);
    Thread reads = reader(net.device, 4 * RING, 1, all, failures);
    Thread ours = reader(net.host, 0, 0, all, failures);
    Connection before = current(net.host);
    net.host.breaks(before, "by the test");
    Thread writes = writer(net.host, 4 * RING, 1, 1, failures);
    assertThat(writes.join(Duration.ofMillis(200))).isFalse();
    net.down = false;
    assertThat(writes.join(Duration.ofSeconds(10))).isTrue();
    all.await();
    net.host.finish();
    assertThat(reads.join(Duration.ofSeconds(10))).isTrue();
    assertThat(ours.join(Duration.ofSeconds(10))).isTrue();
    net.host.close();
    net.device.close();
    assertThat(failures).isEmpty();
  }

  @Test
  void afterItsPatienceAnEndGivesUpAndSaysWhy() throws Exception {
    Net net = new Net(1, 0, Duration.ofMillis(200));
    net.down = true;
    Connection before = current(net.host);
    net.host.breaks(before, "by the test");
    long start = System.nanoTime();
    assertThatThrownBy(() -> net.host.read(ByteBuffer.allocateDirect(10)))
        .hasMessageContaining("by the test")
        .hasMessageContaining("too late");
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(3));
    assertThatThrownBy(() -> net.device.read(ByteBuffer.allocateDirect(10)))
        .isInstanceOf(IOException.class);
    net.host.close();
    net.device.close();
  }

  @Test
  void withoutPatienceABreakIsTheEnd() {
    Net net = new Net(1, 0, Duration.ZERO);
    Connection before = current(net.host);
    net.host.breaks(before, "by the test");
    assertThatThrownBy(() -> net.host.read(ByteBuffer.allocateDirect(10)))
        .hasMessage("by the test");
    assertThat(net.breaks.get()).isZero();
    net.host.close();
    net.device.close();
  }

  @Test
  void aSilentConnectionIsABreak() throws Exception {
    Net net = new Net(1, 0, LONG);
    List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch all = new CountDownLatch(2);
    Thread here = reader(net.host, 1, 5, all, failures);
    Thread there = reader(net.device, 1, 6, all, failures);
    Thread.sleep(50);
    assertThat(net.host.silent(Duration.ofSeconds(10))).isTrue();
    assertThat(net.breaks.get()).isZero();
    assertThat(net.host.silent(Duration.ofMillis(10))).isTrue();
    writer(net.host, 1, 6, 1, failures).join();
    writer(net.device, 1, 5, 1, failures).join();
    all.await();
    net.host.finish();
    here.join();
    there.join();
    assertThat(net.breaks.get()).isEqualTo(1);
    assertThat(failures).isEmpty();
    net.host.close();
    net.device.close();
  }

  @Test
  void stoppingBringsEverybodyBackAndTellsTheOtherEnd() throws Exception {
    Net net = new Net(1, 0, LONG);
    BlockingQueue<String> ends = new LinkedBlockingQueue<>();
    Thread reads =
        Thread.ofPlatform()
            .start(() -> {
              try {
                net.host.read(ByteBuffer.allocateDirect(10));
              } catch (IOException e) {
                ends.add("read: " + e.getMessage());
              }
            });
    Thread writes =
        Thread.ofPlatform()
            .start(() -> {
              try {
                while (true) {
                  net.host.write(ByteBuffer.allocateDirect(1000)); // nobody reads over there
                }
              } catch (IOException e) {
                ends.add("write: " + e.getMessage());
              }
            });
    Thread.sleep(100);
    net.host.stop();
    net.host.close();
    assertThat(reads.join(Duration.ofSeconds(5))).isTrue();
    assertThat(writes.join(Duration.ofSeconds(5))).isTrue();
    assertThat(ends)
        .containsExactlyInAnyOrder("read: closed on this side", "write: closed on this side");
    net.device.close();

    for (int i = 0; i < 100; i++) {
      Net idle = new Net(1, 0, LONG);
      Thread host =
          Thread.ofPlatform()
              .start(() ->
                  assertThatThrownBy(() -> idle.host.read(ByteBuffer.allocateDirect(10)))
                      .hasMessage("closed on this side"));
      idle.host.write(ByteBuffer.allocateDirect(10));
      idle.host.stop();
      ByteBuffer into = ByteBuffer.allocateDirect(100);
      assertThat(idle.device.read(into)).isEqualTo(10);
      assertThat(idle.device.read(into)).isEqualTo(-1);
      assertThat(idle.breaks.get()).isZero();
      host.join();
      idle.device.close();
      idle.host.close();
    }
  }

  /** Whoever writes is not held by a reader that is somewhere else. */
  @Test
  void aStreamWhoseReaderIsHeldUpEndsAfterItsPatience() throws Exception {
    Net net = new Net(1, 0, Duration.ofMillis(50));
    Connection before = current(net.host);
    net.host.breaks(before, "by the test");
    Duration limit = Duration.ofMillis(10);
    assertThat(net.host.silent(limit)).isTrue();
    net.host.write(ByteBuffer.allocateDirect(10));
    Thread.sleep(100);
    assertThat(net.host.silent(limit)).isTrue();
    assertThatThrownBy(() -> net.host.write(ByteBuffer.allocateDirect(10)))
        .hasMessage("closed on this side");
    net.host.close();
    net.device.close();
  }

  @Test
  void aHostilePeerEndsTheStream() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    record Wrong(int length, long received) {}
    List<Wrong> wrong =
        List.of(
            new Wrong(-2, 0),
            new Wrong(ResumableWire.MAX_RECORD_BYTES + 1, 0),
            new Wrong(Integer.MIN_VALUE, 0),
            new Wrong(0, 11), // more than was sent
            new Wrong(0, -1),
            new Wrong(-1, Long.MAX_VALUE));
    for (Wrong w : wrong) {
      Net net = new Net(1, 0, LONG);
      Connection far = current(net.device);
      net.host.write(ByteBuffer.allocateDirect(10));
      send(far, w.length, w.received);
      assertThatThrownBy(() -> net.host.read(ByteBuffer.allocateDirect(10)))
          .as("%s", w)
          .hasMessageContaining("the other side s");
      assertThat(net.breaks.get()).isZero(); // it is no accident: no other connection is asked for
      net.host.close();
      net.device.close();
    }
    // And whatever random bytes mean, it is an end or a wait, never an error of our own.
    Random random = new Random(seed);
    for (int i = 0; i < 200; i++) {
      Net net = new Net(1, 0, Duration.ofMillis(1));
      net.down = true;
      Connection far = current(net.device);
      byte[] bytes = new byte[random.nextInt(300)];
      random.nextBytes(bytes);
      if (bytes.length > 4 && random.nextBoolean()) {
        bytes[1] = bytes[2] = bytes[3] = 0; // a length that may be
      }
      ByteBuffer nonsense = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
      far.write(nonsense, ByteBuffer.allocateDirect(0));
      far.close();
      ByteBuffer into = ByteBuffer.allocateDirect(1000);
      try {
        while (net.host.read(into) > 0) {
          assertThat(into.position()).isLessThanOrEqualTo(bytes.length);
        }
      } catch (IOException e) {
        assertThat(e).hasMessageNotContaining("Exception");
      }
      net.host.close();
      net.device.close();
    }
  }

  @Test
  void aPeerThatForgetsWhatItHadSaidIsNotGoneOnWith() {
    Net net = new Net(1, 0, LONG);
    ResumableWire wire = renewedBy(net, () -> new Renewal.Renewed(net.pipes()[0], 5));
    Connection before = current(wire);
    wire.breaks(before, "by the test");
    assertThatThrownBy(() -> wire.read(ByteBuffer.allocateDirect(10)))
        .hasMessageContaining("says that it has 5 bytes");
    wire.close();
    net.host.close();
    net.device.close();
  }

  /** An attempt that its end had given up comes late; the next one knows of more. */
  @Test
  void aPeerMayKnowOfMoreThanALateAttemptOfItsOwn() throws Exception {
    Net net = new Net(1, 0, LONG);
    Pipe[] last = net.pipes();
    Deque<Renewal.Renewed> next = new ArrayDeque<>();
    Pipe late = net.pipes()[0];
    late.out.close(true);
    next.add(new Renewal.Renewed(late, 10));
    next.add(new Renewal.Renewed(last[0], 100));
    ResumableWire wire = renewedBy(net, next::remove);
    wire.write(ByteBuffer.allocateDirect(100));
    Connection before = current(wire);
    wire.breaks(before, "by the test");
    send(last[1], 1, 100);
    last[1].write(ByteBuffer.allocateDirect(1), ByteBuffer.allocateDirect(0));
    late.in.close(true);
    assertThat(wire.read(ByteBuffer.allocateDirect(10))).isOne();
    assertThat(wire.acknowledged()).isEqualTo(100);
    wire.close();
    net.host.close();
    net.device.close();
  }

  /** A stream whose connections after the first are the test's. */
  private static ResumableWire renewedBy(Net net, Supplier<Renewal.Renewed> next) {
    Renewal renewal =
        new Renewal() {
          @Override
          public Renewed renew(long received, long deadline) {
            return next.get();
          }

          @Override
          public void abandon() {}
        };
    return new ResumableWire(net.pipes()[0], renewal, LONG, LinkEvents.NONE, RING);
  }

  private static Connection current(ResumableWire wire) {
    return Objects.requireNonNull(wire.connection());
  }

  private static void send(Connection to, int length, long received) throws IOException {
    to.write(
        ByteBuffer.allocateDirect(ResumableWire.HEADER_BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putInt(length)
            .putLong(received)
            .flip(),
        ByteBuffer.allocateDirect(0));
  }
}
