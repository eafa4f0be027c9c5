// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.RING_F_INDIRECT_DESC;
import static dev.outboard.abi.Virtio.bit;

import dev.outboard.posix.Uninterrupted;
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
 * the ring.
 */
abstract class RequestDevice extends VirtualDevice {
  /** Entries of each queue; with indirect descriptors a request takes one. */
  static final int QUEUE_SIZE = 512;

  static final int WORKERS = 4;
  static final int REQUESTS = 16;

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

  private final String name;
  private final Kick queueKick;

  /** Requests that nobody serves; as many as there are, so that adding never waits. */
  private final ArrayBlockingQueue<Request> idle = new ArrayBlockingQueue<>(REQUESTS);

  /** What is handed to the workers; {@link #end} tells one of them to end. */
  private final ArrayBlockingQueue<Request> slow = new ArrayBlockingQueue<>(REQUESTS + WORKERS);

  private final Request end;

  /** The server and the workers; of the control thread only. */
  private final List<Thread> threads = new ArrayList<>();

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
    super(kernel, line, deviceId, features | bit(RING_F_INDIRECT_DESC), notices);
    this.name = name;
    // One thread serves them all, so one eventfd wakes it.
    this.queueKick = queueKick();
    for (int i = 0; i < queueCount; i++) {
      addQueue(QUEUE_SIZE, queueKick);
    }
    setConfiguration(config);
    for (int i = 0; i < REQUESTS; i++) {
      idle.add(new Request(arena, scratchBytes));
    }
    end = new Request(arena, 64);
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

  /** Requests so far. */
  long requests() {
    return requests.sum();
  }

  /** Those of them that a worker served. */
  long handedOver() {
    return handedOver.sum();
  }

  // --- control ---

  @Override
  final String threadName(String role) {
    return "virtio-" + role + " " + name;
  }

  @Override
  final String whose() {
    return "its";
  }

  @Override
  final String notice(String why) {
    return name + " is gone: " + why;
  }

  @Override
  final long needed() {
    return 0;
  }

  @Override
  final void accept(long features) {
    // No feature makes a difference to requests.
  }

  @Override
  final void failing() {
    // The configuration space says nothing of it.
  }

  @Override
  final void startQueues() throws RingViolation {
    VirtQueue[] queues = new VirtQueue[queueCount()];
    for (int i = 0; i < queues.length; i++) {
      queues[i] = queue("request queue " + i, i, true);
    }
    threads.add(thread("requests", () -> perform(() -> take(queues))));
    for (int i = 0; i < WORKERS; i++) {
      threads.add(thread("worker", () -> perform(() -> work(queues))));
    }
    threads.forEach(Thread::start);
  }

  /** Waits until every request that was taken is served. */
  @Override
  final void joinQueues() {
    if (threads.isEmpty()) {
      return;
    }
    Uninterrupted.join(threads.getFirst());
    for (int i = 1; i < threads.size(); i++) {
      slow.add(end);
    }
    threads.forEach(Uninterrupted::join);
    threads.clear();
    // What workers that failed have left.
    for (Request left = slow.poll(); left != null; left = slow.poll()) {
      if (left != end) {
        idle.add(left);
      }
    }
  }

  // --- requests ---

  /** The body of a thread. */
  private interface Work {
    void run() throws RingViolation, InterruptedException;
  }

  private void perform(Work work) {
    try {
      enter();
      work.run();
    } catch (RingViolation v) {
      violated(v);
    } catch (InterruptedException | RuntimeException | Error e) {
      fail("it failed: " + e);
    }
  }

  private void take(VirtQueue[] queues) throws RingViolation, InterruptedException {
    Request request = idle.take();
    try {
      for (VirtQueue queue : queues) {
        queue.disableKick();
      }
      while (running()) {
        boolean any = false;
        for (int i = 0; i < queues.length && running(); i++) {
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
      interruptFor(request.queue);
    }
  }
}
