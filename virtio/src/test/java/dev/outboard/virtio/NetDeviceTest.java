// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.F_VERSION_1;
import static dev.outboard.abi.Virtio.NET_F_MAC;
import static dev.outboard.abi.Virtio.NET_F_MRG_RXBUF;
import static dev.outboard.abi.Virtio.RING_F_EVENT_IDX;
import static dev.outboard.abi.Virtio.STATUS_ACKNOWLEDGE;
import static dev.outboard.abi.Virtio.STATUS_DRIVER;
import static dev.outboard.abi.Virtio.STATUS_DRIVER_OK;
import static dev.outboard.abi.Virtio.STATUS_FEATURES_OK;
import static dev.outboard.abi.Virtio.STATUS_NEEDS_RESET;
import static dev.outboard.abi.Virtio.bit;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The card against a driver written in Java and a wire that is a socketpair. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class NetDeviceTest {
  private static final int LINE = 7;
  private static final int RECEIVE = 0;
  private static final int TRANSMIT = 1;
  private static final long BUFFERS = 1 << 20;
  private static final int BUFFER_BYTES = 2048;
  private static final int NEEDED = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment memory = arena.allocate(ModelDriver.MEMORY_BYTES, 4096);
  private final Semaphore interrupts = new Semaphore(0);
  private final Queue<String> notices = new ConcurrentLinkedQueue<>();

  /** Where each thread keeps its kicks, as the card's own do; 0 for those that do not. */
  private final ThreadLocal<Long> kicks = ThreadLocal.withInitial(() -> 0L);

  private Wire wire;
  private NetDevice device;
  private RegisterPage page;
  private ModelDriver receive;
  private ModelDriver transmit;

  @BeforeEach
  void plug() throws NetException {
    wire = new Wire();
    GuestMemory guest = new GuestMemory(memory, ModelDriver.BASE);
    GuestKernel kernel =
        new ModelKernel(guest) {
          @Override
          public void raiseInterrupt(int line) {
            assertThat(line).isEqualTo(LINE);
            interrupts.release();
          }

          @Override
          public void keepKicks(long address) {
            kicks.set(address);
          }
        };
    device = new NetDevice(kernel, wire, LINE, notices::add);
    page =
        new RegisterPage(
            MemorySegment.ofAddress(device.pageAddress()).reinterpret(RegisterPage.BYTES));
    receive = new ModelDriver(memory, 64, 4096);
    transmit = new ModelDriver(memory, 64, 64 << 10);
    device.start();
  }

  @AfterEach
  void unplug() {
    device.close();
    wire.close();
    arena.close();
  }

  // --- the driver ---

  private int status(int value) {
    page.set(RegisterPage.STATUS, value);
    page.set(RegisterPage.STATUS_SERIAL, page.get(RegisterPage.STATUS_SERIAL) + 1);
    kick(page.get(RegisterPage.CONTROL_KICK));
    await(
        "an answer",
        () -> page.get(RegisterPage.ACK_SERIAL) == page.get(RegisterPage.STATUS_SERIAL));
    return page.get(RegisterPage.ACK_STATUS);
  }

  private void kick(int fd) {
    try (Arena a = Arena.ofConfined()) {
      assertThat(Linux.write(fd, a.allocateFrom(ValueLayout.JAVA_LONG, 1L).address(), 8))
          .isEqualTo(8);
    }
  }

  private interface Condition {
    boolean holds();
  }

  private void await(String what, Condition condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (!condition.holds()) {
      assertThat(System.nanoTime()).as("waited for " + what).isLessThan(deadline);
      try {
        interrupts.tryAcquire(1, TimeUnit.MILLISECONDS);
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }

  private int negotiate(long features) {
    assertThat(status(STATUS_ACKNOWLEDGE)).isEqualTo(STATUS_ACKNOWLEDGE);
    assertThat(status(NEEDED)).isEqualTo(NEEDED);
    page.setLong(RegisterPage.DRIVER_FEATURES, features);
    return status(NEEDED | STATUS_FEATURES_OK);
  }

  private void run() {
    long features =
        bit(F_VERSION_1) | bit(NET_F_MRG_RXBUF) | bit(NET_F_MAC) | bit(RING_F_EVENT_IDX);
    assertThat(negotiate(features)).isEqualTo(NEEDED | STATUS_FEATURES_OK);
    receive.offer(page, RECEIVE);
    transmit.offer(page, TRANSMIT);
    int all = NEEDED | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    assertThat(status(all)).isEqualTo(all);
  }

  private static long bufferAddress(int head) {
    return ModelDriver.BASE + BUFFERS + (long) head * BUFFER_BYTES;
  }

  private void offerReceiveBuffers() {
    for (int i = 0; i < receive.size; i++) {
      receive.add(List.of(new ModelDriver.Buffer(bufferAddress(i), BUFFER_BYTES, true)));
    }
    kick(page.queue(RECEIVE, RegisterPage.QUEUE_KICK));
  }

  private void send(byte[] frame) {
    long address = ModelDriver.BASE + (2 << 20);
    MemorySegment.copy(
        frame, 0, memory, ValueLayout.JAVA_BYTE, address - ModelDriver.BASE, frame.length);
    // In two parts, the header across them.
    transmit.add(
        List.of(
            new ModelDriver.Buffer(address, 7, false),
            new ModelDriver.Buffer(address + 7, frame.length - 7, false)));
    kick(page.queue(TRANSMIT, RegisterPage.QUEUE_KICK));
    await("the frame to go", () -> transmit.take() != null);
  }

  private ModelDriver.Used takeReceived() {
    List<ModelDriver.Used> got = new ArrayList<>();
    await(
        "a buffer",
        () -> {
          ModelDriver.Used used = receive.take();
          return used != null && got.add(used);
        });
    return got.getFirst();
  }

  private static byte[] frame(int length) {
    byte[] frame = new byte[length];
    for (int i = 12; i < length; i++) {
      frame[i] = (byte) (i * 31);
    }
    return frame;
  }

  // --- the tests ---

  @Test
  void describesItself() {
    assertThat(page.get(RegisterPage.MAGIC)).isEqualTo(0x4456424f);
    assertThat(page.get(RegisterPage.DEVICE_ID)).isEqualTo(1);
    assertThat(page.getLong(RegisterPage.DEVICE_FEATURES) & bit(NET_F_MRG_RXBUF)).isNotZero();
    MemorySegment config =
        MemorySegment.ofAddress(device.pageAddress() + RegisterPage.CONFIG).reinterpret(12);
    assertThat(config.asSlice(0, 6).toArray(ValueLayout.JAVA_BYTE))
        .isEqualTo(wire.config().mac().bytes());
    assertThat(config.get(ValueLayout.JAVA_SHORT, 6)).isEqualTo((short) 1);
    assertThat(config.get(ValueLayout.JAVA_SHORT, 10)).isEqualTo((short) 9000);
    assertThat(page.get(RegisterPage.CONFIG_GENERATION) & 1).isZero();
  }

  /** 2.2.2 and 3.1.1, step 6. */
  @Test
  void refusesFeaturesThatItDidNotOffer() {
    long good = bit(F_VERSION_1) | bit(NET_F_MRG_RXBUF);
    assertThat(negotiate(good | bit(40)) & STATUS_FEATURES_OK).isZero();
    assertThat(status(0)).isZero();
    assertThat(negotiate(bit(F_VERSION_1)) & STATUS_FEATURES_OK).as("needs MRG_RXBUF").isZero();
    assertThat(status(0)).isZero();
    assertThat(negotiate(bit(NET_F_MRG_RXBUF)) & STATUS_FEATURES_OK).as("needs VERSION_1").isZero();
    assertThat(status(0)).isZero();
    assertThat(negotiate(good) & STATUS_FEATURES_OK).isNotZero();
    assertThat(wire.accepted).isEqualTo(good);
  }

  @Test
  void carriesFramesBothWays() {
    run();
    offerReceiveBuffers();
    for (int length : new int[] {60, 2047, 2048, 2049, 9000}) {
      byte[] frame = frame(length);
      send(frame);
      assertThat(wire.take()).isEqualTo(frame);

      wire.put(frame);
      byte[] got = new byte[length];
      int at = 0;
      int buffers = 0;
      while (at < length) {
        ModelDriver.Used used = takeReceived();
        MemorySegment.copy(
            memory,
            ValueLayout.JAVA_BYTE,
            bufferAddress(used.head()) - ModelDriver.BASE,
            got,
            at,
            (int) used.length());
        at += (int) used.length();
        buffers++;
        // Buffers go back under the same number: the model takes descriptors in a circle.
        receive.add(
            List.of(new ModelDriver.Buffer(bufferAddress(used.head()), BUFFER_BYTES, true)));
      }
      assertThat(at).isEqualTo(length);
      assertThat(got[10] | got[11] << 8).as("num_buffers").isEqualTo(buffers);
      got[10] = 0;
      got[11] = 0;
      assertThat(got).isEqualTo(frame);
    }
    assertThat(device.counts().framesIn()).isEqualTo(5);
    assertThat(device.counts().framesOut()).isEqualTo(5);
    assertThat(device.counts().dropped()).isZero();
    assertThat(notices).isEmpty();
  }

  @Test
  void dropsWhatIsNoFrame() {
    run();
    send(new byte[12]);
    send(new byte[8]);
    byte[] good = frame(100);
    send(good);
    assertThat(wire.take()).isEqualTo(good);
    assertThat(device.counts().dropped()).isEqualTo(2);
  }

  @Test
  void waitsForBuffersAndThenGoesOn() {
    run();
    byte[] frame = frame(500);
    wire.put(frame);
    await("starvation", () -> device.counts().starved() > 0);
    assertThat(device.counts().framesIn()).isZero();
    offerReceiveBuffers();
    await("the frame", () -> receive.take() != null);
  }

  @Test
  void stopsWhenTheDriverBreaksTheRules() {
    run();
    transmit.offer(64);
    kick(page.queue(TRANSMIT, RegisterPage.QUEUE_KICK));
    await("a notice", () -> !notices.isEmpty());
    await("NEEDS_RESET", () -> (page.get(RegisterPage.ACK_STATUS) & STATUS_NEEDS_RESET) != 0);
    assertThat(notices)
        .containsExactly(
            "the driver broke the rules of the network card's transmit queue: descriptor 64 of 64"
                + " (virtio 2.7.5); the device has no network any more");
    assertThat(page.get(RegisterPage.ISR) & RegisterPage.ISR_CONFIG).isNotZero();
    MemorySegment config =
        MemorySegment.ofAddress(device.pageAddress() + RegisterPage.CONFIG).reinterpret(12);
    assertThat(config.get(ValueLayout.JAVA_SHORT, 6)).as("the link is down").isZero();
    // It answers on, but does nothing more.
    assertThat(status(0)).isEqualTo(STATUS_NEEDS_RESET);
  }

  @Test
  void stopsWhenAQueueIsSetUpWrong() {
    assertThat(negotiate(bit(F_VERSION_1) | bit(NET_F_MRG_RXBUF)) & STATUS_FEATURES_OK).isNotZero();
    receive.offer(page, RECEIVE);
    int got = status(NEEDED | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    assertThat(got & STATUS_NEEDS_RESET).isNotZero();
    assertThat(notices).singleElement().asString().contains("transmit queue: it was not set up");
  }

  /** 3.1.1: no queues before the features are agreed on. */
  @Test
  void stopsWhenFeaturesAreSkipped() {
    receive.offer(page, RECEIVE);
    transmit.offer(page, TRANSMIT);
    assertThat(status(NEEDED | STATUS_DRIVER_OK) & STATUS_NEEDS_RESET).isNotZero();
    assertThat(notices).singleElement().asString().contains("has not agreed on features");
  }

  @Test
  void tellsTheEndOfTheWire() {
    run();
    offerReceiveBuffers();
    wire.cut();
    await("a notice", () -> !notices.isEmpty());
    assertThat(notices).containsExactly("the wire was cut; the device has no network any more");
  }

  @Test
  void canBeResetAndUsedAgain() {
    run();
    offerReceiveBuffers();
    assertThat(status(0)).isZero();
    memory.fill((byte) 0);
    receive = new ModelDriver(memory, 64, 4096);
    transmit = new ModelDriver(memory, 64, 64 << 10);
    run();
    byte[] frame = frame(77);
    send(frame);
    assertThat(wire.take()).isEqualTo(frame);
    offerReceiveBuffers();
    wire.put(frame);
    await("the frame", () -> receive.take() != null);
  }

  /** Ends also while the transmitter waits for a wire that takes nothing. */
  @Test
  void stopsWhileTheWireIsFull() {
    run();
    long address = ModelDriver.BASE + (2 << 20);
    for (int i = 0; i < 64; i++) {
      transmit.add(List.of(new ModelDriver.Buffer(address, 9000, false)));
    }
    kick(page.queue(TRANSMIT, RegisterPage.QUEUE_KICK));
    await("the wire to fill", () -> wire.refused.get() > 0);
    long begin = System.nanoTime();
    device.stop();
    assertThat(System.nanoTime() - begin).isLessThan(TimeUnit.SECONDS.toNanos(5));
    assertThat(device.counts().framesOut()).isLessThan(64);
  }

  // --- threads that send what they have handed over ---

  /** Frames in memory of their own, each in one part. */
  private void handOver(byte[] frame, int place) {
    long address = ModelDriver.BASE + (2 << 20) + (long) place * 9216;
    MemorySegment.copy(
        frame, 0, memory, ValueLayout.JAVA_BYTE, address - ModelDriver.BASE, frame.length);
    transmit.add(List.of(new ModelDriver.Buffer(address, frame.length, false)));
  }

  @Test
  void sendsWithoutAKick() {
    run();
    for (int i = 0; i < 200; i++) {
      byte[] frame = frame(60 + i);
      handOver(frame, 0);
      device.transmitNow();
      await("the frame to go", () -> transmit.take() != null);
      assertThat(wire.take()).isEqualTo(frame);
    }
    assertThat(device.counts().framesOut()).isEqualTo(200);
    assertThat(notices).isEmpty();
  }

  @Test
  void sendsWhatAThreadHasKept() {
    run();
    KeptKicks kept = device.keepKicks();
    MemorySegment struct = MemorySegment.ofAddress(kicks.get()).reinterpret(KeptKicks.BYTES);
    assertThat(struct.get(ValueLayout.JAVA_INT, KeptKicks.KEEPS)).isZero();
    kept.keep();
    assertThat(struct.get(ValueLayout.JAVA_INT, KeptKicks.KEEPS)).isEqualTo(1);
    byte[] frame = frame(123);
    handOver(frame, 0);
    kept.settle();
    assertThat(struct.get(ValueLayout.JAVA_LONG, 0)).isZero();
    kept.keep();
    struct.set(
        ValueLayout.JAVA_INT, KeptKicks.KEPT, page.queue(TRANSMIT, RegisterPage.QUEUE_KICK) + 1);
    kept.settle();
    assertThat(struct.get(ValueLayout.JAVA_LONG, 0)).as("what is kept after it").isZero();
    await("the frame to go", () -> device.counts().framesOut() == 1);
    assertThat(wire.take()).isEqualTo(frame);
    kept.close();
    assertThat(kicks.get()).isZero();
  }

  /** What there is no room for, and more than a few, is the transmit thread's. */
  @Test
  void leavesToTheTransmitThreadWhatHasToWait() {
    run();
    for (int i = 0; i < 64; i++) {
      handOver(frame(9000 - i), i);
    }
    device.transmitNow();
    await("the wire to fill", () -> wire.refused.get() > 0);
    for (int i = 0; i < 64; i++) {
      byte[] expected = frame(9000 - i);
      await("frame " + i, wire::waiting);
      assertThat(wire.take()).isEqualTo(expected);
    }
    assertThat(device.counts().framesOut()).isEqualTo(64);
    assertThat(device.counts().dropped()).isZero();
  }

  /** By whoever they are sent, frames go in their order, and each once. */
  @Test
  void sendsInOrderOnManyThreads() throws InterruptedException {
    run();
    int frames = 12_000;
    int threads = 3;
    List<Thread> senders = new ArrayList<>();
    AtomicLong number = new AtomicLong();
    Semaphore free = new Semaphore(64);
    for (int t = 0; t < threads; t++) {
      boolean kicks = t == 0;
      senders.add(
          Thread.ofPlatform()
              .start(() -> {
                for (int i = 0; i < frames / threads; i++) {
                  free.acquireUninterruptibly();
                  synchronized (number) {
                    int n = (int) number.getAndIncrement();
                    handOver(numbered(n), n % 64);
                  }
                  if (kicks) {
                    kick(page.queue(TRANSMIT, RegisterPage.QUEUE_KICK));
                  } else {
                    device.transmitNow();
                  }
                }
              }));
    }
    int returned = 0;
    for (int i = 0; i < frames; i++) {
      await("frame " + i, wire::waiting);
      assertThat(wire.take()).isEqualTo(numbered(i));
      for (; transmit.take() != null; returned++) {
        free.release();
      }
    }
    while (returned < frames) {
      await("the last buffers", () -> transmit.take() != null);
      returned++;
    }
    for (Thread t : senders) {
      t.join();
    }
    assertThat(device.counts().framesOut()).isEqualTo(frames);
    assertThat(device.counts().dropped()).isZero();
    assertThat(notices).isEmpty();
  }

  private static byte[] numbered(int n) {
    byte[] frame = frame(60 + n % 100);
    ByteBuffer.wrap(frame).putInt(20, n);
    return frame;
  }

  @Test
  void stopsWhenTheRulesAreBrokenInAnothersTurn() {
    run();
    send(frame(100));
    transmit.offer(64);
    device.transmitNow();
    await("a notice", () -> !notices.isEmpty());
    await("NEEDS_RESET", () -> (page.get(RegisterPage.ACK_STATUS) & STATUS_NEEDS_RESET) != 0);
    assertThat(notices)
        .containsExactly(
            "the driver broke the rules of the network card's transmit queue: descriptor 64 of 64"
                + " (virtio 2.7.5); the device has no network any more");
    device.transmitNow();
    assertThat(status(0)).isEqualTo(STATUS_NEEDS_RESET);
  }

  /** After the end nothing is sent, whoever comes late. */
  @Test
  void stopsWhileOthersSend() throws InterruptedException {
    run();
    Thread sender =
        Thread.ofPlatform()
            .start(() -> {
              for (int i = 0; !Thread.interrupted(); i++) {
                if (i < 64) {
                  handOver(frame(9000), i);
                }
                device.transmitNow();
              }
            });
    await("a frame", () -> device.counts().framesOut() > 0);
    long begin = System.nanoTime();
    device.stop();
    assertThat(System.nanoTime() - begin).isLessThan(TimeUnit.SECONDS.toNanos(10));
    long sent = device.counts().framesOut();
    assertThat(wire.take()).hasSize(9000);
    device.transmitNow();
    assertThat(device.counts().framesOut()).isEqualTo(sent);
    sender.interrupt();
    sender.join();
  }

  /** Where frames come alone it is not looked for a second one, until there is one. */
  @Test
  void receivesFramesThatComeAloneAndOthers() {
    run();
    offerReceiveBuffers();
    Random random = new Random(77);
    int sent = 0;
    for (int round = 0; round < 300; round++) {
      int burst = round % 50 < 30 ? 1 : 1 + random.nextInt(6);
      for (int i = 0; i < burst; i++) {
        wire.put(numbered(sent + i));
      }
      for (int i = 0; i < burst; i++) {
        ModelDriver.Used used = takeReceived();
        byte[] got =
            memory
                .asSlice(bufferAddress(used.head()) - ModelDriver.BASE, used.length())
                .toArray(ValueLayout.JAVA_BYTE);
        got[10] = 0;
        assertThat(got).isEqualTo(numbered(sent + i));
        receive.add(
            List.of(new ModelDriver.Buffer(bufferAddress(used.head()), BUFFER_BYTES, true)));
      }
      sent += burst;
    }
    assertThat(device.counts().framesIn()).isEqualTo(sent);
  }

  /** A wire of datagrams, so that one call is one frame. */
  private static final class Wire implements NetBackend {
    private final Arena arena = Arena.ofShared();
    private final int near;
    private final int far;
    private final NetworkConfig config;
    volatile long accepted;
    final AtomicLong refused = new AtomicLong();

    Wire() {
      MemorySegment pair = arena.allocate(8, 4);
      assertThat(
              Linux.socketpair(
                  Socket.AF_UNIX,
                  Socket.SOCK_SEQPACKET | Socket.SOCK_NONBLOCK | Socket.SOCK_CLOEXEC,
                  0,
                  pair.address()))
          .isZero();
      near = pair.getAtIndex(ValueLayout.JAVA_INT, 0);
      far = pair.getAtIndex(ValueLayout.JAVA_INT, 1);
      config =
          new NetworkConfig(
              MacAddress.random(),
              9000,
              0,
              List.of(InterfaceAddress.parse("addr", "10.0.0.2/24")),
              List.of(InetAddress.ofLiteral("10.0.0.1")),
              List.of(),
              List.of(),
              List.of(),
              List.of());
    }

    void put(byte[] frame) {
      try (Arena a = Arena.ofConfined()) {
        MemorySegment bytes = a.allocateFrom(ValueLayout.JAVA_BYTE, frame);
        assertThat(Linux.write(far, bytes.address(), frame.length)).isEqualTo(frame.length);
      }
    }

    byte[] take() {
      try (Arena a = Arena.ofConfined()) {
        MemorySegment bytes = a.allocate(1 << 16);
        long n = Linux.read(far, bytes.address(), bytes.byteSize());
        assertThat(n).isPositive();
        return bytes.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
      }
    }

    /** Whether there is a frame to take. */
    boolean waiting() {
      try (Arena a = Arena.ofConfined()) {
        MemorySegment polled = a.allocate(8, 4);
        polled.set(ValueLayout.JAVA_INT, 0, far);
        polled.set(ValueLayout.JAVA_SHORT, 4, (short) Poll.POLLIN);
        return Linux.poll(polled.address(), 1, 0) == 1;
      }
    }

    void cut() {
      Linux.shutdown(far, Socket.SHUT_RDWR);
    }

    @Override
    public NetworkConfig config() {
      return config;
    }

    @Override
    public long features() {
      return 0;
    }

    @Override
    public void accept(long features) {
      accepted = features;
    }

    @Override
    public int descriptor() {
      return near;
    }

    @Override
    public long receive(IoVectors vectors) {
      return Linux.readv(near, vectors.address(), vectors.count());
    }

    @Override
    public long transmit(IoVectors vectors) {
      long n = Linux.writev(near, vectors.address(), vectors.count());
      if (n == AGAIN) {
        refused.incrementAndGet();
      }
      return n;
    }

    @Override
    public int largestReceived() {
      return 9018;
    }

    @Override
    public int largestSent() {
      return 9018;
    }

    @Override
    public String epitaph() {
      return "the wire was cut";
    }

    @Override
    public void close() {
      Linux.close(near);
      Linux.close(far);
      arena.close();
    }
  }
}
