// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.F_VERSION_1;
import static dev.outboard.abi.Virtio.ID_NET;
import static dev.outboard.abi.Virtio.NET_CONFIG_BYTES;
import static dev.outboard.abi.Virtio.NET_CONFIG_MAC;
import static dev.outboard.abi.Virtio.NET_CONFIG_MTU;
import static dev.outboard.abi.Virtio.NET_CONFIG_QUEUE_PAIRS;
import static dev.outboard.abi.Virtio.NET_CONFIG_STATUS;
import static dev.outboard.abi.Virtio.NET_F_MAC;
import static dev.outboard.abi.Virtio.NET_F_MRG_RXBUF;
import static dev.outboard.abi.Virtio.NET_F_MTU;
import static dev.outboard.abi.Virtio.NET_F_STATUS;
import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;
import static dev.outboard.abi.Virtio.NET_STATUS_LINK_UP;
import static dev.outboard.abi.Virtio.RING_F_EVENT_IDX;
import static dev.outboard.abi.Virtio.STATUS_DRIVER_OK;
import static dev.outboard.abi.Virtio.STATUS_FEATURES_OK;
import static dev.outboard.abi.Virtio.STATUS_NEEDS_RESET;
import static dev.outboard.abi.Virtio.bit;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A virtio network card (virtio 1.3, 5.1) with one pair of queues.
 *
 * <p>Three platform threads: <i>control</i> answers the driver's status changes and, while the
 * driver is in charge, starts and ends the other two; <i>receive</i> moves frames from the backend
 * into buffers of the driver; <i>transmit</i> moves the driver's frames to the backend. Frames are
 * never copied in Java: the host's kernel reads and writes the guest's memory at the addresses that
 * the queues name, which have been checked.
 *
 * <p>There is no control queue: a driver that waits for one spins while it holds the emulated CPU,
 * and all that it would switch (filters, which offloads) is decided by the backend anyway.
 * Mergeable receive buffers are required, as the alternative costs 64 KiB of the kernel's memory
 * per entry.
 *
 * <p>Life: {@link #start}; {@code GuestKernel.registerVirtioDevice}; ...; {@link #stop} (threads
 * ended, nothing touches the kernel or its memory any more); the kernel is halted; {@link #close}
 * (frees what the kernel could still have written to: page and eventfds).
 */
final class NetDevice implements AutoCloseable {
  /**
   * Entries of each queue. Receive: half of them, at 1.5 KiB at least, must hold a few of the
   * largest frames. Transmit: such a frame takes up to 19.
   */
  static final int QUEUE_SIZE = 512;

  private static final int RECEIVE = 0;
  private static final int TRANSMIT = 1;

  /** Frames after which the driver is told, though there are more to come. */
  private static final int BATCH = 64;

  /** Bytes after which it is told likewise: what the next level of cache holds. */
  private static final long BATCH_BYTES = 512 << 10;

  /** Of IP's length field. */
  private static final int MAX_PACKET = 65535;

  private static final int POLLFD_BYTES = 8;
  private static final long STACK_BYTES = 1 << 20;

  private final GuestKernel kernel;
  private final GuestMemory memory;
  private final NetBackend backend;
  private final int line;
  private final Consumer<String> notices;
  private final Arena arena = Arena.ofShared();
  private final RegisterPage page;
  private final Kick controlKick;
  private final Kick receiveKick;
  private final Kick transmitKick;
  private final long offered;
  private final Thread control;

  // Written by the control thread only.
  private @Nullable Thread receiver;
  private @Nullable Thread transmitter;
  private int acknowledged;
  private long negotiated;

  /** The queue threads go on while it is true. */
  private volatile boolean queuesRunning;

  private volatile boolean stopping;

  /** Set by whoever finds the device or its backend broken. */
  private volatile boolean failed;

  private final LongAdder framesIn = new LongAdder();
  private final LongAdder bytesIn = new LongAdder();
  private final LongAdder framesOut = new LongAdder();
  private final LongAdder bytesOut = new LongAdder();
  private final LongAdder dropped = new LongAdder();
  private final LongAdder interrupts = new LongAdder();
  private final LongAdder starved = new LongAdder();

  /**
   * @param backend its owner closes it, after {@link #stop}
   * @param line the interrupt line
   * @param notices takes one sentence when the device fails; called by the device's threads
   */
  NetDevice(GuestKernel kernel, NetBackend backend, int line, Consumer<String> notices)
      throws NetException {
    this.kernel = kernel;
    this.memory = kernel.memory();
    this.backend = backend;
    this.line = line;
    this.notices = notices;
    this.page = new RegisterPage(arena.allocate(RegisterPage.BYTES, RegisterPage.BYTES));
    this.controlKick = new Kick(arena);
    this.receiveKick = new Kick(arena);
    this.transmitKick = new Kick(arena);
    this.offered =
        backend.features()
            | bit(F_VERSION_1)
            | bit(RING_F_EVENT_IDX)
            | bit(NET_F_MAC)
            | bit(NET_F_MTU)
            | bit(NET_F_STATUS)
            | bit(NET_F_MRG_RXBUF);
    fillPage();
    control = thread("control", this::control);
  }

  private void fillPage() {
    page.set(RegisterPage.MAGIC, RegisterPage.MAGIC_VALUE);
    page.set(RegisterPage.VERSION, RegisterPage.LAYOUT_VERSION);
    page.set(RegisterPage.DEVICE_ID, ID_NET);
    page.set(RegisterPage.VENDOR_ID, 0x4f42);
    page.setLong(RegisterPage.DEVICE_FEATURES, offered);
    page.set(RegisterPage.QUEUE_COUNT, 2);
    page.set(RegisterPage.INTERRUPT_LINE, line);
    page.set(RegisterPage.CONTROL_KICK, controlKick.descriptor());
    page.setQueue(RECEIVE, RegisterPage.QUEUE_SIZE_MAX, QUEUE_SIZE);
    page.setQueue(RECEIVE, RegisterPage.QUEUE_KICK, receiveKick.descriptor());
    page.setQueue(TRANSMIT, RegisterPage.QUEUE_SIZE_MAX, QUEUE_SIZE);
    page.setQueue(TRANSMIT, RegisterPage.QUEUE_KICK, transmitKick.descriptor());
    int more = backend.largestSent() - NetBackend.LARGEST_FRAME;
    page.set(RegisterPage.MAX_SEGMENT, more > 0 ? MAX_PACKET + more : 0);
    page.set(RegisterPage.CONFIG_BYTES, NET_CONFIG_BYTES);
    page.setConfig(0, configuration(NET_STATUS_LINK_UP));
  }

  /** {@code struct virtio_net_config}, 5.1.4. */
  private byte[] configuration(int linkStatus) {
    NetworkConfig config = backend.config();
    return ByteBuffer.allocate(NET_CONFIG_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(NET_CONFIG_MAC, config.mac().bytes())
        .putShort(NET_CONFIG_STATUS, (short) linkStatus)
        .putShort(NET_CONFIG_QUEUE_PAIRS, (short) 1)
        .putShort(NET_CONFIG_MTU, (short) config.mtu())
        .array();
  }

  private Thread thread(String role, Runnable body) {
    // Interrupts run the kernel's frames on this stack.
    Thread t = new Thread(null, body, "virtio-net-" + role, STACK_BYTES);
    t.setDaemon(true);
    return t;
  }

  /** Starts to answer: to be called before the page is registered. */
  void start() {
    control.start();
  }

  /** Address of the page to register. */
  long pageAddress() {
    return page.address();
  }

  NetCounts counts() {
    return new NetCounts(
        framesIn.sum(),
        bytesIn.sum(),
        framesOut.sum(),
        bytesOut.sum(),
        dropped.sum(),
        interrupts.sum(),
        starved.sum());
  }

  /**
   * Ends the device's threads. After it neither the kernel nor its memory is touched; the driver,
   * if it still runs, sees a card that does nothing. Any thread that is not the device's; twice is
   * once.
   */
  void stop() {
    stopping = true;
    controlKick.signal();
    join(control);
  }

  /** Frees what the kernel could write to; the kernel must be gone. */
  @Override
  public void close() {
    stop();
    controlKick.close();
    receiveKick.close();
    transmitKick.close();
    arena.close();
  }

  private static void join(@Nullable Thread t) {
    boolean interrupted = false;
    while (t != null && t.isAlive()) {
      try {
        t.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  // --- control ---

  private void control() {
    boolean failureTold = false;
    while (!stopping) {
      controlKick.await();
      if (stopping) {
        break;
      }
      if (failed && !failureTold) {
        failureTold = true;
        tellFailure();
      }
      int serial = page.get(RegisterPage.STATUS_SERIAL);
      if (serial != page.get(RegisterPage.ACK_SERIAL)) {
        answer(page.get(RegisterPage.STATUS));
        page.set(RegisterPage.ACK_STATUS, acknowledged);
        page.set(RegisterPage.ACK_SERIAL, serial);
        interrupt(RegisterPage.ISR_STATUS);
      }
    }
    stopQueues();
  }

  /** 2.1.2, 3.1.1: what the driver asks for, and what it gets. */
  private void answer(int status) {
    if (status == 0) {
      stopQueues();
      acknowledged = failed ? STATUS_NEEDS_RESET : 0;
      return;
    }
    int granted = status;
    if ((status & STATUS_FEATURES_OK) != 0 && (acknowledged & STATUS_FEATURES_OK) == 0) {
      // Read once: what is used later is what was checked.
      negotiated = page.getLong(RegisterPage.DRIVER_FEATURES);
      if (acceptable(negotiated)) {
        backend.accept(negotiated);
      } else {
        granted &= ~STATUS_FEATURES_OK;
      }
    }
    if ((status & STATUS_DRIVER_OK) != 0 && (acknowledged & STATUS_DRIVER_OK) == 0) {
      try {
        if ((granted & STATUS_FEATURES_OK) == 0) {
          throw new RingViolation("queues: it has not agreed on features (virtio 3.1.1)");
        }
        startQueues();
      } catch (RingViolation v) {
        fail("the driver set up the network card's " + v.getMessage());
      }
    }
    acknowledged = failed ? granted | STATUS_NEEDS_RESET : granted;
  }

  /** 2.2.2: only what was offered; and what this device cannot do without. */
  private boolean acceptable(long features) {
    long needed = bit(F_VERSION_1) | bit(NET_F_MRG_RXBUF) | backend.needed();
    return (features & ~offered) == 0 && (features & needed) == needed;
  }

  private void startQueues() throws RingViolation {
    boolean eventIndex = (negotiated & bit(RING_F_EVENT_IDX)) != 0;
    VirtQueue in = queue("receive", RECEIVE, true, eventIndex);
    VirtQueue out = queue("transmit", TRANSMIT, false, eventIndex);
    queuesRunning = true;
    receiver = thread("receive", () -> run(() -> receive(in)));
    transmitter = thread("transmit", () -> run(() -> transmit(out)));
    receiver.start();
    transmitter.start();
  }

  private VirtQueue queue(String name, int index, boolean deviceWrites, boolean eventIndex)
      throws RingViolation {
    if (page.queue(index, RegisterPage.QUEUE_READY) != 1) {
      throw new RingViolation(name + " queue: it was not set up (virtio 3.1.1)");
    }
    return new VirtQueue(
        name,
        memory,
        page.queue(index, RegisterPage.QUEUE_SIZE),
        page.queueLong(index, RegisterPage.QUEUE_DESCRIPTORS),
        page.queueLong(index, RegisterPage.QUEUE_DRIVER_AREA),
        page.queueLong(index, RegisterPage.QUEUE_DEVICE_AREA),
        deviceWrites,
        eventIndex);
  }

  private void stopQueues() {
    queuesRunning = false;
    receiveKick.signal();
    transmitKick.signal();
    join(receiver);
    join(transmitter);
    receiver = null;
    transmitter = null;
  }

  /** A card that can no longer do its work: its link goes down and its driver stops (2.1.2). */
  private void tellFailure() {
    page.setConfig(0, configuration(0));
    acknowledged |= STATUS_NEEDS_RESET;
    page.set(RegisterPage.ACK_STATUS, acknowledged);
    interrupt(RegisterPage.ISR_CONFIG);
  }

  private void interrupt(int reason) {
    page.addInterruptReason(reason);
    kernel.raiseInterrupt(line);
  }

  // --- queues ---

  /** The body of a queue's thread. */
  private interface QueueWork {
    void run() throws RingViolation;
  }

  private void run(QueueWork work) {
    try {
      work.run();
    } catch (RingViolation v) {
      fail("the driver broke the rules of the network card's " + v.getMessage());
    } catch (RuntimeException | Error e) {
      fail("the network card failed: " + e);
    }
  }

  private void fail(String why) {
    if (!failed) {
      failed = true;
      notices.accept(why + "; the device has no network any more");
    }
    queuesRunning = false;
    receiveKick.signal();
    transmitKick.signal();
    controlKick.signal();
  }

  private void receive(VirtQueue queue) throws RingViolation {
    try (Arena own = Arena.ofConfined()) {
      ReceiveWindow window = new ReceiveWindow(own, queue, memory, backend.largestReceived());
      Waiter waiter = new Waiter(own, receiveKick);
      int frames = 0;
      long bytes = 0;
      queue.disableKick();
      while (queuesRunning) {
        if (!window.fill()) {
          flush(queue, RECEIVE);
          frames = 0;
          bytes = 0;
          starved.increment();
          if (!queue.enableKick()) {
            waiter.forKick();
          }
          queue.disableKick();
          continue;
        }
        long n = backend.receive(window.vectors());
        if (n >= NET_HEADER_BYTES) {
          window.complete(n);
          framesIn.increment();
          bytesIn.add(n - NET_HEADER_BYTES);
          bytes += n;
          if (++frames < BATCH && bytes < BATCH_BYTES) {
            continue;
          }
        }
        flush(queue, RECEIVE);
        frames = 0;
        bytes = 0;
        if (n == NetBackend.AGAIN) {
          if (!waiter.forDescriptor(backend.descriptor(), Poll.POLLIN, backend.lookMillis())
              && !backend.isThere()) {
            fail(backend.epitaph());
          }
        } else if (n < NET_HEADER_BYTES && n != -Errno.EINTR) {
          fail(backend.epitaph());
        }
      }
    }
  }

  private void transmit(VirtQueue queue) throws RingViolation {
    try (Arena own = Arena.ofConfined()) {
      IoVectors vectors = new IoVectors(own, queue.size());
      Waiter waiter = new Waiter(own, transmitKick);
      int frames = 0;
      queue.disableKick();
      while (queuesRunning) {
        vectors.clear();
        int head = queue.next(vectors);
        if (head == VirtQueue.EMPTY) {
          finish(waiter);
          flush(queue, TRANSMIT);
          frames = 0;
          if (!queue.enableKick()) {
            waiter.forKick();
          }
          queue.disableKick();
          continue;
        }
        send(vectors, queue.chainBytes(), waiter);
        queue.push(head, 0);
        // The driver's window of unfinished segments is small: it should see each one go.
        queue.publish();
        if (++frames >= BATCH || queue.chainBytes() >= BATCH_BYTES / BATCH) {
          finish(waiter);
          flush(queue, TRANSMIT);
          frames = 0;
        }
      }
    }
  }

  private void send(IoVectors vectors, long bytes, Waiter waiter) {
    if (bytes <= NET_HEADER_BYTES || bytes > backend.largestSent()) {
      dropped.increment();
      return;
    }
    long n = backend.transmit(vectors);
    while ((n == NetBackend.AGAIN || n == -Errno.EINTR) && queuesRunning) {
      finish(waiter);
      waiter.forDescriptor(backend.descriptor(), Poll.POLLOUT, -1);
      n = backend.transmit(vectors);
    }
    if (n < 0) {
      dropped.increment();
    } else {
      framesOut.increment();
      bytesOut.add(bytes - NET_HEADER_BYTES);
    }
  }

  private void finish(Waiter waiter) {
    while (!backend.flush() && queuesRunning) {
      waiter.forDescriptor(backend.descriptor(), Poll.POLLOUT, -1);
    }
  }

  private void flush(VirtQueue queue, int index) {
    queue.publish();
    if (queue.interruptWanted()) {
      interrupts.increment();
      interrupt(1 << index);
    }
  }

  /** Waits for a thread's kick, and for a descriptor. */
  private static final class Waiter {
    private final MemorySegment polled;
    private final Kick kick;

    Waiter(Arena arena, Kick kick) {
      this.kick = kick;
      polled = arena.allocate(2 * POLLFD_BYTES, 8);
      polled.set(ValueLayout.JAVA_INT, 0, kick.descriptor());
      polled.set(ValueLayout.JAVA_SHORT, 4, (short) Poll.POLLIN);
    }

    void forKick() {
      kick.await();
    }

    /** Whether anything came within that time. */
    boolean forDescriptor(int fd, int events, int millis) {
      polled.set(ValueLayout.JAVA_INT, POLLFD_BYTES, fd);
      polled.set(ValueLayout.JAVA_SHORT, POLLFD_BYTES + 4, (short) events);
      polled.set(ValueLayout.JAVA_SHORT, 6, (short) 0);
      long ready = Linux.poll(polled.address(), 2, millis);
      if (polled.get(ValueLayout.JAVA_SHORT, 6) != 0) {
        kick.await();
      }
      return ready != 0;
    }
  }
}
