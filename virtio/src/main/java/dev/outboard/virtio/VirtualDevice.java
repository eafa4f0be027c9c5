// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.F_VERSION_1;
import static dev.outboard.abi.Virtio.RING_F_EVENT_IDX;
import static dev.outboard.abi.Virtio.RING_F_INDIRECT_DESC;
import static dev.outboard.abi.Virtio.STATUS_DRIVER_OK;
import static dev.outboard.abi.Virtio.STATUS_FEATURES_OK;
import static dev.outboard.abi.Virtio.STATUS_NEEDS_RESET;
import static dev.outboard.abi.Virtio.bit;

import dev.outboard.posix.Uninterrupted;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What every virtual device is to its driver: a page of registers, and one platform thread,
 * <i>control</i>, that answers the driver's status changes (virtio 1.3, 3.1) and, while the driver
 * is in charge, has the threads of the queues started and ended. What these do is the subclass's.
 *
 * <p>Life: {@link #start}; {@code GuestKernel.registerVirtioDevice}; ...; {@link #stop} (threads
 * ended, nothing touches the kernel or its memory any more); the kernel is halted; {@link #close}
 * (frees what the kernel could still have written to: page and eventfds).
 */
abstract class VirtualDevice implements AutoCloseable {
  private static final int VENDOR = 0x4f42;
  private static final long STACK_BYTES = 1 << 20;

  /** Memory of the device; lives until {@link #close}. */
  final Arena arena = Arena.ofShared();

  private final GuestKernel kernel;
  private final int line;
  private final Consumer<String> notices;
  private final RegisterPage page;
  private final Kick controlKick;
  private final List<Kick> queueKicks = new ArrayList<>();
  private final long offered;
  private int queueCount;

  private volatile @Nullable Thread control;

  // Of the control thread only.
  private int acknowledged;
  private long negotiated;

  /** The threads of the queues go on while it is true. */
  private volatile boolean queuesRunning;

  private volatile boolean stopping;

  /** Set by whoever finds the device broken. */
  private volatile boolean failed;

  /**
   * A device without queues.
   *
   * @param line an interrupt line that is the device's alone
   * @param features what is offered beside VERSION_1 and EVENT_IDX
   * @param notices takes one sentence when the device fails; called by the device's threads
   */
  VirtualDevice(GuestKernel kernel, int line, int deviceId, long features, Consumer<String> notices)
      throws NetException {
    this.kernel = kernel;
    this.line = line;
    this.notices = notices;
    this.page = new RegisterPage(arena.allocate(RegisterPage.BYTES, RegisterPage.BYTES));
    this.controlKick = new Kick(arena);
    this.offered = features | bit(F_VERSION_1) | bit(RING_F_EVENT_IDX);
    page.set(RegisterPage.MAGIC, RegisterPage.MAGIC_VALUE);
    page.set(RegisterPage.VERSION, RegisterPage.LAYOUT_VERSION);
    page.set(RegisterPage.DEVICE_ID, deviceId);
    page.set(RegisterPage.VENDOR_ID, VENDOR);
    page.setLong(RegisterPage.DEVICE_FEATURES, offered);
    page.set(RegisterPage.INTERRUPT_LINE, line);
    page.set(RegisterPage.CONTROL_KICK, controlKick.descriptor());
  }

  // --- what the subclass says ---

  /** The name of one of the device's threads. */
  abstract String threadName(String role);

  /** "its", or whose the queues are in a sentence about what the driver did to them. */
  abstract String whose();

  /** The sentence for {@code notices}. */
  abstract String notice(String why);

  /** Features that this device cannot do without, beside VERSION_1. */
  abstract long needed();

  /** The driver has chosen these features; the control thread. */
  abstract void accept(long features);

  /**
   * Takes the queues as the driver has set them up and starts their threads, which go on while
   * {@link #running} is true; the control thread.
   */
  abstract void startQueues() throws RingViolation;

  /**
   * Waits until the threads of the queues, if there are any, have ended: {@link #running} is false
   * and they were kicked. The control thread.
   */
  abstract void joinQueues();

  /** The driver is about to be told that the device failed; the control thread. */
  abstract void failing();

  // --- what the subclass is given ---

  /** An eventfd for a thread that serves queues: it is signalled when that thread is to end. */
  final Kick queueKick() throws NetException {
    Kick kick = new Kick(arena);
    queueKicks.add(kick);
    return kick;
  }

  /** Adds a queue of at most {@code size} entries; before {@link #start}. */
  final void addQueue(int size, Kick kick) {
    page.setQueue(queueCount, RegisterPage.QUEUE_SIZE_MAX, size);
    page.setQueue(queueCount, RegisterPage.QUEUE_KICK, kick.descriptor());
    queueCount++;
    page.set(RegisterPage.QUEUE_COUNT, queueCount);
  }

  /**
   * Lets threads that leave the kernel do the work of the last queue's kicks: {@link KeptKicks}.
   */
  final void letKeepKicks() {
    page.setQueue(queueCount - 1, RegisterPage.QUEUE_KEEPS, 1);
  }

  /** Replaces the configuration space, whose length stays as it was first. */
  final void setConfiguration(byte[] config) {
    page.set(RegisterPage.CONFIG_BYTES, config.length);
    page.setConfig(0, config);
  }

  /** The longest segment that the driver may hand out, if that is not what the driver assumes. */
  final void setMaxSegment(int bytes) {
    page.set(RegisterPage.MAX_SEGMENT, bytes);
  }

  /** For the calling thread, of this device, whose transmit queue allows it. */
  final KeptKicks keepKicks(NetDevice card) {
    return new KeptKicks(kernel, card);
  }

  final GuestMemory memory() {
    return kernel.memory();
  }

  final int queueCount() {
    return queueCount;
  }

  /** Whether the threads of the queues are to go on. */
  final boolean running() {
    return queuesRunning;
  }

  /** A thread of the device, not started. */
  final Thread thread(String role, Runnable body) {
    // Interrupts run the kernel's frames on this stack.
    Thread t = new Thread(null, body, threadName(role), STACK_BYTES);
    t.setDaemon(true);
    return t;
  }

  /**
   * A queue as the driver has set it up; the control thread.
   *
   * @param name for messages, as in "receive queue"
   */
  final VirtQueue queue(String name, int index, boolean deviceWrites) throws RingViolation {
    if (page.queue(index, RegisterPage.QUEUE_READY) != 1) {
      throw new RingViolation(name + ": it was not set up (virtio 3.1.1)");
    }
    return new VirtQueue(
        name,
        memory(),
        page.queue(index, RegisterPage.QUEUE_SIZE),
        page.queueLong(index, RegisterPage.QUEUE_DESCRIPTORS),
        page.queueLong(index, RegisterPage.QUEUE_DRIVER_AREA),
        page.queueLong(index, RegisterPage.QUEUE_DEVICE_AREA),
        deviceWrites,
        (negotiated & bit(RING_F_EVENT_IDX)) != 0,
        (negotiated & bit(RING_F_INDIRECT_DESC)) != 0);
  }

  /** Interrupts the driver on behalf of a queue. */
  final void interruptFor(int queue) {
    interrupt(1 << queue);
  }

  /** The driver broke the rules of a queue: the device is of no use any more. */
  final void violated(RingViolation v) {
    fail("the driver broke the rules of " + whose() + " " + v.getMessage());
  }

  /** The device is of no use any more: its queues stop, and the driver is told. Any thread. */
  final void fail(String why) {
    if (!failed) {
      failed = true;
      notices.accept(notice(why));
    }
    endQueues();
    controlKick.signal();
  }

  // --- for the owner ---

  /** Starts to answer: to be called once, before the page is registered. */
  final void start() {
    Thread t = thread("control", this::control);
    control = t;
    t.start();
  }

  /** Address of the page to register. */
  final long pageAddress() {
    return page.address();
  }

  /**
   * Ends the device's threads. After it neither the kernel nor its memory is touched; the driver,
   * if it still runs, sees a device that does nothing. Any thread that is not the device's; twice
   * is once.
   */
  final void stop() {
    stopping = true;
    controlKick.signal();
    Uninterrupted.join(control);
  }

  /** Frees what the kernel could write to; the kernel must be gone. */
  @Override
  public final void close() {
    stop();
    controlKick.close();
    queueKicks.forEach(Kick::close);
    arena.close();
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
        accept(negotiated);
      } else {
        granted &= ~STATUS_FEATURES_OK;
      }
    }
    if ((status & STATUS_DRIVER_OK) != 0 && (acknowledged & STATUS_DRIVER_OK) == 0) {
      try {
        if ((granted & STATUS_FEATURES_OK) == 0) {
          throw new RingViolation("queues: it has not agreed on features (virtio 3.1.1)");
        }
        queuesRunning = true;
        startQueues();
      } catch (RingViolation v) {
        fail("the driver set up " + whose() + " " + v.getMessage());
      }
    }
    acknowledged = failed ? granted | STATUS_NEEDS_RESET : granted;
  }

  /** 2.2.2: only what was offered; and what this device cannot do without. */
  private boolean acceptable(long features) {
    long needed = bit(F_VERSION_1) | needed();
    return (features & ~offered) == 0 && (features & needed) == needed;
  }

  /** 2.1.2: a device that can no longer do its work. */
  private void tellFailure() {
    failing();
    acknowledged |= STATUS_NEEDS_RESET;
    page.set(RegisterPage.ACK_STATUS, acknowledged);
    interrupt(RegisterPage.ISR_CONFIG);
  }

  private void endQueues() {
    queuesRunning = false;
    queueKicks.forEach(Kick::signal);
  }

  private void stopQueues() {
    endQueues();
    joinQueues();
  }

  private void interrupt(int reason) {
    page.addInterruptReason(reason);
    kernel.raiseInterrupt(line);
  }
}
