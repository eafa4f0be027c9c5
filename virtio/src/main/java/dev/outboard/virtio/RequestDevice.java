// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.F_VERSION_1;
import static dev.outboard.abi.Virtio.RING_F_EVENT_IDX;
import static dev.outboard.abi.Virtio.RING_F_INDIRECT_DESC;
import static dev.outboard.abi.Virtio.STATUS_DRIVER_OK;
import static dev.outboard.abi.Virtio.STATUS_FEATURES_OK;
import static dev.outboard.abi.Virtio.STATUS_NEEDS_RESET;
import static dev.outboard.abi.Virtio.bit;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;

/**
 * A virtual device whose queues carry requests that are answered in place: a disk, a file system.
 *
 * <p>One platform thread, the <i>server</i>, takes requests and answers what it can without
 * waiting; what may have to wait (a disk that is read, a flush) it hands to one of {@value
 * #WORKERS} <i>workers</i> and goes on. So a request that is quick costs no change of threads, and
 * a slow one holds up nobody. {@value #REQUESTS} requests are in hand at most; the others wait in
 * the ring. A fourth kind of thread, <i>control</i>, answers the driver's status changes.
 *
 * <p>Life as that of a {@link NetDevice}: {@link #start}, registration, {@link #stop}, the kernel
 * is halted, {@link #close}.
 */
abstract class RequestDevice implements AutoCloseable {
  /** Entries of each queue; with indirect descriptors a request takes one. */
  static final int QUEUE_SIZE = 512;

  static final int WORKERS = 4;
  static final int REQUESTS = 16;

  private static final long STACK_BYTES = 1 << 20;

  /** A request in hand; it belongs to the thread that serves it. */
  static final class Request {
    /** What the device may read, and what it may write. */
    final IoVectors readable;

    final IoVectors writable;

    /** For the server's use: a part of one of the two. */
    final IoVectors data;

    /** For the server's use; zeroed once. */
    final MemorySegment scratch;

    /** How many bytes were written to {@link #writable}; to be set by who serves. */
    long written;

    private int queue;
    private int head;

    Request(Arena arena, int scratchBytes) {
      readable = new IoVectors(arena, QUEUE_SIZE);
      writable = new IoVectors(arena, QUEUE_SIZE);
      data = new IoVectors(arena, QUEUE_SIZE);
      scratch = arena.allocate(scratchBytes, 64);
    }
  }

  private final GuestKernel kernel;
  private final String name;
  private final int queueCount;
  private final int line;
  private final Consumer<String> notices;
  private final Arena arena = Arena.ofShared();
  private final RegisterPage page;
  private final Kick controlKick;
  private final Kick queueKick;
  private final long offered;
  private final Thread control;

  /** Requests that nobody serves; as many as there are, so that adding never waits. */
  private final ArrayBlockingQueue<Request> idle = new ArrayBlockingQueue<>(REQUESTS);

  /** What is handed to the workers; {@link #end} tells one of them to end. */
  private final ArrayBlockingQueue<Request> slow = new ArrayBlockingQueue<>(REQUESTS + WORKERS);

  private final Request end;

  // Written by the control thread only.
  private final List<Thread> threads = new ArrayList<>();
  private int acknowledged;
  private long negotiated;

  private volatile boolean queuesRunning;
  private volatile boolean stopping;
  private volatile boolean failed;

  private final LongAdder requests = new LongAdder();
  private final LongAdder handedOver = new LongAdder();

  /**
   * @param name for threads and messages, as in "the disk /x"
   * @param features what is offered beside the rings' own
   * @param config the configuration space
   * @param notices takes one sentence when the device fails; called by the device's threads
   */
  RequestDevice(
      GuestKernel kernel,
      int line,
      String name,
      int deviceId,
      int queueCount,
      long features,
      byte[] config,
      int scratchBytes,
      Consumer<String> notices)
      throws NetException {
    this.kernel = kernel;
    this.line = line;
    this.name = name;
    this.queueCount = queueCount;
    this.notices = notices;
    this.page = new RegisterPage(arena.allocate(RegisterPage.BYTES, RegisterPage.BYTES));
    this.controlKick = new Kick(arena);
    this.queueKick = new Kick(arena);
    this.offered = features | bit(F_VERSION_1) | bit(RING_F_EVENT_IDX) | bit(RING_F_INDIRECT_DESC);
    for (int i = 0; i < REQUESTS; i++) {
      idle.add(new Request(arena, scratchBytes));
    }
    end = new Request(arena, 64);
    page.set(RegisterPage.MAGIC, RegisterPage.MAGIC_VALUE);
    page.set(RegisterPage.VERSION, RegisterPage.LAYOUT_VERSION);
    page.set(RegisterPage.DEVICE_ID, deviceId);
    page.set(RegisterPage.VENDOR_ID, 0x4f42);
    page.setLong(RegisterPage.DEVICE_FEATURES, offered);
    page.set(RegisterPage.QUEUE_COUNT, queueCount);
    page.set(RegisterPage.INTERRUPT_LINE, line);
    page.set(RegisterPage.CONTROL_KICK, controlKick.descriptor());
    for (int i = 0; i < queueCount; i++) {
      page.setQueue(i, RegisterPage.QUEUE_SIZE_MAX, QUEUE_SIZE);
      // One thread serves them all, so one eventfd wakes it.
      page.setQueue(i, RegisterPage.QUEUE_KICK, queueKick.descriptor());
    }
    page.set(RegisterPage.CONFIG_BYTES, config.length);
    page.setConfig(0, config);
    control = thread("control", this::control);
  }

  /** What a thread of the device does before it serves its first request. */
  abstract void enter();

  /**
   * Serves a request as far as that can be done without waiting; a thread that has entered.
   *
   * @return false if it may have to wait: then {@link #serveSlowly} is called for it
   */
  abstract boolean serve(Request request) throws RingViolation;

  /** Serves what {@link #serve} would not; a worker. */
  abstract void serveSlowly(Request request) throws RingViolation;

  GuestMemory memory() {
    return kernel.memory();
  }

  private Thread thread(String role, Runnable body) {
    // Interrupts run the kernel's frames on this stack.
    Thread t = new Thread(null, body, "virtio-" + role + " " + name, STACK_BYTES);
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

  /** Requests so far. */
  long requests() {
    return requests.sum();
  }

  /** Those of them that a worker served. */
  long handedOver() {
    return handedOver.sum();
  }

  /**
   * Ends the device's threads. After it neither the kernel nor its memory is touched; the driver,
   * if it still runs, sees a device that does nothing. Any thread that is not the device's; twice
   * is once.
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
    queueKick.close();
    arena.close();
  }

  private static void join(Thread t) {
    boolean interrupted = false;
    while (t.isAlive()) {
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
        acknowledged |= STATUS_NEEDS_RESET;
        page.set(RegisterPage.ACK_STATUS, acknowledged);
        interrupt(RegisterPage.ISR_CONFIG);
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
      if ((negotiated & ~offered) != 0 || (negotiated & bit(F_VERSION_1)) == 0) {
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
        fail("the driver set up its " + v.getMessage());
      }
    }
    acknowledged = failed ? granted | STATUS_NEEDS_RESET : granted;
  }

  private void startQueues() throws RingViolation {
    VirtQueue[] queues = new VirtQueue[queueCount];
    for (int i = 0; i < queueCount; i++) {
      queues[i] = queue(i);
    }
    queuesRunning = true;
    threads.add(thread("requests", () -> run(() -> take(queues))));
    for (int i = 0; i < WORKERS; i++) {
      threads.add(thread("worker", () -> run(() -> work(queues))));
    }
    threads.forEach(Thread::start);
  }

  private VirtQueue queue(int index) throws RingViolation {
    String label = "request queue " + index;
    if (page.queue(index, RegisterPage.QUEUE_READY) != 1) {
      throw new RingViolation(label + ": it was not set up (virtio 3.1.1)");
    }
    return new VirtQueue(
        label,
        memory(),
        page.queue(index, RegisterPage.QUEUE_SIZE),
        page.queueLong(index, RegisterPage.QUEUE_DESCRIPTORS),
        page.queueLong(index, RegisterPage.QUEUE_DRIVER_AREA),
        page.queueLong(index, RegisterPage.QUEUE_DEVICE_AREA),
        true,
        (negotiated & bit(RING_F_EVENT_IDX)) != 0,
        (negotiated & bit(RING_F_INDIRECT_DESC)) != 0);
  }

  /** Waits until every request that was taken is served. */
  private void stopQueues() {
    queuesRunning = false;
    queueKick.signal();
    if (threads.isEmpty()) {
      return;
    }
    join(threads.getFirst());
    for (int i = 1; i < threads.size(); i++) {
      slow.add(end);
    }
    threads.forEach(RequestDevice::join);
    threads.clear();
    // What workers that failed have left.
    for (Request left = slow.poll(); left != null; left = slow.poll()) {
      if (left != end) {
        idle.add(left);
      }
    }
  }

  private void interrupt(int reason) {
    page.addInterruptReason(reason);
    kernel.raiseInterrupt(line);
  }

  // --- requests ---

  /** The body of a thread. */
  private interface Work {
    void run() throws RingViolation, InterruptedException;
  }

  private void run(Work work) {
    try {
      enter();
      work.run();
    } catch (RingViolation v) {
      fail("the driver broke the rules of its " + v.getMessage());
    } catch (InterruptedException | RuntimeException | Error e) {
      fail("it failed: " + e);
    }
  }

  private void fail(String why) {
    if (!failed) {
      failed = true;
      notices.accept(name + " is gone: " + why);
    }
    queuesRunning = false;
    queueKick.signal();
    controlKick.signal();
  }

  private void take(VirtQueue[] queues) throws RingViolation, InterruptedException {
    Request request = idle.take();
    try {
      for (VirtQueue queue : queues) {
        queue.disableKick();
      }
      while (queuesRunning) {
        boolean any = false;
        for (int i = 0; i < queues.length && queuesRunning; i++) {
          request.readable.clear();
          request.writable.clear();
          int head = queues[i].next(request.readable, request.writable);
          if (head == VirtQueue.EMPTY) {
            continue;
          }
          any = true;
          request.queue = i;
          request.head = head;
          request.written = 0;
          requests.increment();
          if (serve(request)) {
            complete(queues, request);
          } else {
            handedOver.increment();
            slow.add(request);
            request = idle.take();
          }
        }
        if (!any) {
          boolean more = false;
          for (VirtQueue queue : queues) {
            more |= queue.enableKick();
          }
          if (!more) {
            queueKick.await();
          }
          for (VirtQueue queue : queues) {
            queue.disableKick();
          }
        }
      }
    } finally {
      idle.add(request);
    }
  }

  private void work(VirtQueue[] queues) throws RingViolation, InterruptedException {
    while (true) {
      Request request = slow.take();
      if (request == end) {
        return;
      }
      try {
        serveSlowly(request);
        complete(queues, request);
      } finally {
        idle.add(request);
      }
    }
  }

  /** Gives a request back. Several threads push; the one that takes touches other words. */
  private void complete(VirtQueue[] queues, Request request) {
    VirtQueue queue = queues[request.queue];
    boolean wanted;
    synchronized (queue) {
      queue.push(request.head, request.written);
      queue.publish();
      wanted = queue.interruptWanted();
    }
    if (wanted) {
      interrupt(1 << request.queue);
    }
  }
}
