// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

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
import static dev.outboard.abi.Virtio.bit;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Uninterrupted;
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
 * <p>Two platform threads beside <i>control</i>: <i>receive</i> moves frames from the backend into
 * buffers of the driver; <i>transmit</i> moves the driver's frames to the backend. Frames are never
 * copied in Java: the host's kernel reads and writes the guest's memory at the addresses that the
 * queues name, which have been checked.
 *
 * <p>There is no control queue: a driver that waits for one spins while it holds the emulated CPU,
 * and all that it would switch (filters, which offloads) is decided by the backend anyway.
 * Mergeable receive buffers are required, as the alternative costs 64 KiB of the kernel's memory
 * per entry.
 */
final class NetDevice extends VirtualDevice {
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

  /** Frames received at once, up to which the receive thread sends the answers itself. */
  private static final int FEW = 4;

  /** Waits in a row that brought one frame each, after which the next seems to be alone, too. */
  private static final int ALONE = 8;

  /** Of such waits one in so many looks all the same. */
  private static final int LOOK_EVERY = 8;

  /** Of IP's length field. */
  private static final int MAX_PACKET = 65535;

  private static final int POLLFD_BYTES = 8;

  private final NetBackend backend;
  private final Kick receiveKick;
  private final Kick transmitKick;
  private final int largestSent;

  // Of the control thread only.
  private @Nullable Thread receiver;
  private @Nullable Thread transmitter;

  /** What sends, while the queues run. */
  private volatile @Nullable Transmitter sending;

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
    super(
        kernel,
        line,
        ID_NET,
        backend.features()
            | bit(NET_F_MAC)
            | bit(NET_F_MTU)
            | bit(NET_F_STATUS)
            | bit(NET_F_MRG_RXBUF),
        notices);
    this.backend = backend;
    this.largestSent = backend.largestSent();
    this.receiveKick = queueKick();
    this.transmitKick = queueKick();
    // As RECEIVE and TRANSMIT number them.
    addQueue(QUEUE_SIZE, receiveKick);
    addQueue(QUEUE_SIZE, transmitKick);
    letKeepKicks();
    int more = largestSent - NetBackend.LARGEST_FRAME;
    setMaxSegment(more > 0 ? MAX_PACKET + more : 0);
    setConfiguration(configuration(NET_STATUS_LINK_UP));
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

  /** See {@link Network#keepKicks}. */
  KeptKicks keepKicks() {
    return keepKicks(this);
  }

  /**
   * Sends what the driver has handed over, on the calling thread, or sees to it that another one
   * does. Never waits. Any thread, also after {@link #stop}.
   */
  void transmitNow() {
    Transmitter t = sending;
    // Without one there is nothing to do: it looks when it starts.
    if (t != null) {
      t.now();
    }
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

  // --- control ---

  @Override
  String threadName(String role) {
    return "virtio-net-" + role;
  }

  @Override
  String whose() {
    return "the network card's";
  }

  @Override
  String notice(String why) {
    return why + "; the device has no network any more";
  }

  @Override
  long needed() {
    return bit(NET_F_MRG_RXBUF) | backend.needed();
  }

  @Override
  void accept(long features) {
    backend.accept(features);
  }

  /** The link goes down. */
  @Override
  void failing() {
    setConfiguration(configuration(0));
  }

  @Override
  void startQueues() throws RingViolation {
    VirtQueue in = queue("receive queue", RECEIVE, true);
    VirtQueue out = queue("transmit queue", TRANSMIT, false);
    Thread receive = thread("receive", () -> perform(() -> receive(in)));
    Transmitter transmitting = new Transmitter(out);
    sending = transmitting;
    Thread transmit = thread("transmit", transmitting);
    receiver = receive;
    transmitter = transmit;
    receive.start();
    transmit.start();
  }

  @Override
  void joinQueues() {
    Uninterrupted.join(receiver);
    Uninterrupted.join(transmitter);
    receiver = null;
    transmitter = null;
    sending = null;
  }

  // --- queues ---

  /** The body of a queue's thread. */
  private interface QueueWork {
    void run() throws RingViolation;
  }

  private void perform(QueueWork work) {
    try {
      work.run();
    } catch (RingViolation v) {
      violated(v);
    } catch (RuntimeException | Error e) {
      fail("the network card failed: " + e);
    }
  }

  private void receive(VirtQueue queue) throws RingViolation {
    try (Arena own = Arena.ofConfined();
        KeptKicks kicks = keepKicks()) {
      Receiver receiving = new Receiver(own, queue, kicks);
      queue.disableKick();
      while (running()) {
        // A method of its own: this one is called once, and would be interpreted for long.
        receiving.step();
      }
    }
  }

  /** Moves frames from the backend to the driver. */
  private final class Receiver {
    private final VirtQueue queue;
    private final ReceiveWindow window;
    private final Waiter waiter;
    private final KeptKicks kicks;

    // Since the driver was told.
    private int frames;
    private long bytes;

    // Since the last wait, and how many waits in a row brought one frame only.
    private int received;
    private int alone;

    Receiver(Arena arena, VirtQueue queue, KeptKicks kicks) {
      this.queue = queue;
      this.kicks = kicks;
      this.window =
          new ReceiveWindow(
              arena, queue, memory(), NetBackend.LARGEST_FRAME, backend.largestReceived());
      this.waiter = new Waiter(arena, receiveKick);
    }

    /** One frame, or one wait. */
    void step() throws RingViolation {
      if (!window.fill()) {
        tell();
        starved.increment();
        if (!queue.enableKick()) {
          waiter.forKick();
        }
        queue.disableKick();
        return;
      }
      long n = backend.receive(window.vectors());
      if (n >= NET_HEADER_BYTES) {
        if (window.cut(n)) {
          // The first segment above 64 KiB, and the only one that is lost.
          dropped.increment();
          return;
        }
        window.complete(n);
        framesIn.increment();
        bytesIn.add(n - NET_HEADER_BYTES);
        bytes += n;
        received++;
        if (++frames < BATCH && bytes < BATCH_BYTES && !seemsAlone()) {
          return;
        }
      }
      boolean all = n == NetBackend.AGAIN || seemsAlone();
      tell();
      if (all) {
        if (received > 0) {
          // Goes round in a circle above the least, so that some waits look.
          int next = alone < ALONE + LOOK_EVERY - 1 ? alone + 1 : ALONE;
          alone = received == 1 ? next : 0;
          received = 0;
        }
        if (!waiter.forDescriptor(backend.descriptor(), Poll.POLLIN, backend.lookMillis())
            && !backend.isThere()) {
          fail(backend.epitaph());
        }
      } else if (n < NET_HEADER_BYTES && n != -Errno.EINTR) {
        fail(backend.epitaph());
      }
    }

    /**
     * Whether no other frame is to be expected behind the one that has come: to look for it is a
     * call of the machine's kernel, which finds nothing where one waits for the answer to the
     * other.
     */
    private boolean seemsAlone() {
      return received == 1 && alone >= ALONE && alone % LOOK_EVERY != 0;
    }

    private void tell() {
      // What answers many is sent by the transmit thread, while more come in.
      boolean few = frames <= FEW;
      if (few) {
        kicks.keep();
      }
      flush(queue, RECEIVE);
      if (few) {
        kicks.settle();
      }
      frames = 0;
      bytes = 0;
    }
  }

  /**
   * Moves frames from the driver to the backend: the transmit thread or, if that sleeps, whoever
   * has handed one over ({@link #transmitNow}). All but the waiter is for who has the turn.
   */
  private final class Transmitter implements Runnable {
    /**
     * Frames that another thread than the transmit thread sends at most. Where there are more, that
     * is woken at once, and the other goes on with its own work.
     */
    private static final int NOW_FRAMES = 4;

    /** How often it looks again, since somebody else has asked meanwhile. */
    private static final int NOW_LOOKS = 4;

    private final Turn turn = new Turn();
    private final Arena arena = Arena.ofShared();
    private final VirtQueue queue;
    private final IoVectors vectors;
    private final Waiter waiter;
    private final @Nullable JumboSplitter splitter;

    /** A chain in {@link #vectors} that is to be sent first; {@link VirtQueue#EMPTY}: none. */
    private int left = VirtQueue.EMPTY;

    /** Since the driver was told. */
    private int frames;

    /** Who had the turn has failed: the queue must not be used any more. */
    private boolean broken;

    Transmitter(VirtQueue queue) {
      this.queue = queue;
      this.vectors = new IoVectors(arena, queue.size());
      this.waiter = new Waiter(arena, transmitKick);
      this.splitter =
          backend.splitsJumbo() ? new JumboSplitter(arena, memory(), queue.size()) : null;
      queue.disableKick();
    }

    // --- the transmit thread ---

    @Override
    public void run() {
      perform(this::work);
      turn.close();
      if (!broken) {
        perform(this::rest);
      }
      arena.close();
    }

    private void work() throws RingViolation {
      while (running()) {
        if (turn.take()) {
          all();
        }
        if (running()) {
          waiter.forKick();
        }
      }
    }

    /** Sends until there is nothing left, or the device stops; gives the turn back. */
    private void all() throws RingViolation {
      try {
        do {
          while (running() && !broken && step()) {
            // A method of its own: this one is called seldom, and would be interpreted for long.
          }
        } while (!turn.give());
      } catch (RingViolation | RuntimeException | Error e) {
        broken = true;
        turn.pass();
        throw e;
      }
    }

    /** One frame; false if there is none. */
    private boolean step() throws RingViolation {
      int head = next();
      if (head == VirtQueue.EMPTY) {
        tell();
        if (!queue.enableKick()) {
          return false;
        }
        queue.disableKick();
        return true;
      }
      left = VirtQueue.EMPTY;
      sendChain();
      sent(head);
      if (frames >= BATCH || queue.chainBytes() >= BATCH_BYTES / BATCH) {
        tell();
      }
      return true;
    }

    private void tell() {
      finish(waiter);
      told();
    }

    /**
     * What the driver has handed over until now still goes out, if the backend takes it at once.
     */
    private void rest() throws RingViolation {
      for (int most = queue.size(); most > 0; most--) {
        int head = next();
        if (head == VirtQueue.EMPTY) {
          break;
        }
        left = VirtQueue.EMPTY;
        sendChain();
        queue.push(head, 0);
      }
      queue.publish();
      finish(waiter);
    }

    private void sendChain() {
      long bytes = queue.chainBytes();
      JumboSplitter s = splitter;
      if (s == null
          || bytes <= NetBackend.LARGEST_FRAME
          || bytes > largestSent
          || !s.take(vectors, bytes)) {
        send(vectors, bytes, waiter);
        return;
      }
      while (s.hasNext() && running()) {
        IoVectors piece = s.next(vectors);
        send(piece, s.bytes(), waiter);
      }
    }

    // --- any other thread ---

    /** Sends a few frames, if it is nobody's turn; if there are more, wakes the transmit thread. */
    void now() {
      if (turn.take()) {
        perform(this::few);
      }
    }

    private void few() throws RingViolation {
      boolean all;
      int looks = 0;
      try {
        do {
          // Others may go on asking: this thread has a caller who waits.
          all = !broken && ++looks <= NOW_LOOKS && sendFew();
        } while (all && !turn.give());
      } catch (RingViolation | RuntimeException | Error e) {
        broken = true;
        turn.pass();
        throw e;
      }
      if (!all) {
        turn.pass();
        transmitKick.signal();
      }
    }

    /** Sends what can be sent without waiting; whether nothing is left. */
    private boolean sendFew() throws RingViolation {
      if (queue.waiting() > NOW_FRAMES) {
        return false;
      }
      for (int n = 0; n < NOW_FRAMES; ) {
        if (left != VirtQueue.EMPTY) {
          return false;
        }
        int head = next();
        if (head != VirtQueue.EMPTY) {
          left = head;
          if (queue.chainBytes() > NetBackend.LARGEST_FRAME
              || !sendOnce(vectors, queue.chainBytes())) {
            return false;
          }
          left = VirtQueue.EMPTY;
          sent(head);
          n++;
          continue;
        }
        if (!backend.flush()) {
          return false;
        }
        told();
        if (!queue.enableKick()) {
          return true;
        }
        queue.disableKick();
      }
      return false;
    }

    // --- both ---

    /** The chain to send, in {@link #vectors}. */
    private int next() throws RingViolation {
      if (left != VirtQueue.EMPTY) {
        return left;
      }
      vectors.clear();
      return queue.next(vectors);
    }

    private void sent(int head) {
      queue.push(head, 0);
      // The driver's window of unfinished segments is small: it should see each one go.
      queue.publish();
      frames++;
    }

    private void told() {
      flush(queue, TRANSMIT);
      frames = 0;
    }
  }

  private void send(IoVectors vectors, long bytes, Waiter waiter) {
    while (!sendOnce(vectors, bytes)) {
      if (!running()) {
        dropped.increment();
        return;
      }
      finish(waiter);
      waiter.forDescriptor(backend.descriptor(), Poll.POLLOUT, -1);
    }
  }

  /** Sends or drops a frame; false if there is no room for it now. */
  private boolean sendOnce(IoVectors vectors, long bytes) {
    if (bytes <= NET_HEADER_BYTES || bytes > largestSent) {
      dropped.increment();
      return true;
    }
    long n = backend.transmit(vectors);
    if (n == NetBackend.AGAIN || n == -Errno.EINTR) {
      return false;
    }
    if (n < 0) {
      dropped.increment();
    } else {
      framesOut.increment();
      bytesOut.add(bytes - NET_HEADER_BYTES);
    }
    return true;
  }

  private void finish(Waiter waiter) {
    while (!backend.flush() && running()) {
      waiter.forDescriptor(backend.descriptor(), Poll.POLLOUT, -1);
    }
  }

  private void flush(VirtQueue queue, int index) {
    queue.publish();
    if (queue.interruptWanted()) {
      interrupts.increment();
      interruptFor(index);
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
