// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/**
 * {@code --host-loopback}: TCP ports on the device's 127.0.0.1 that lead to the same ports on the
 * 127.0.0.1 of the machine.
 *
 * <p>One acceptor thread for each port and two pumps for each connection, all platform threads with
 * tasks of the device's kernel, whose descriptors are in a table of this object's own. A connection
 * to a port where nothing listens on the machine is reset. Half-closed connections stay half open.
 * At most {@value #MAX_CONNECTIONS} connections at a time; others wait in the backlog.
 */
final class HostLoopback implements AutoCloseable {
  private static final int MAX_CONNECTIONS = 256;
  private static final int BACKLOG = 128;
  private static final int SO_LINGER = 13;
  private static final int IPPROTO_TCP = 6;
  private static final int TCP_NODELAY = 1;
  private static final int LOOPBACK = 0x0100_007f; // 127.0.0.1 as it lies in memory

  // A block: an address, options, and the rest for data.
  private static final int ADDRESS = 0;
  private static final int OPTION = 32;
  private static final int DATA = 64;

  /** A thread with a task, and how to make it stop. */
  private final class Worker implements Runnable {
    private final String name;
    private final Job job;
    private final boolean first;
    private final Thread thread;
    private volatile int tid;

    Worker(String name, boolean first, Job job) {
      this.name = name;
      this.first = first;
      this.job = job;
      this.thread = Thread.ofPlatform().name(name).daemon(true).stackSize(1 << 20).unstarted(this);
    }

    @Override
    public void run() {
      MemorySegment block = kernel.allocate();
      int entered = block == null ? -Errno.ENOMEM : kernel.enterTask(first ? 0 : rootTid, first);
      try {
        if (entered > 0 && block != null) {
          tid = entered;
          job.run(this, block);
        } else {
          log.accept(name + ": no task: " + Errno.name(-entered));
          job.refused();
        }
      } finally {
        tid = 0;
        if (entered > 0) {
          kernel.leaveTask();
        }
        if (block != null) {
          kernel.free(block);
        }
        synchronized (HostLoopback.this) {
          workers.remove(this);
          HostLoopback.this.notifyAll();
        }
      }
    }

    void strike() {
      int target = tid;
      if (target > 0) {
        kernel.interrupt(target);
      }
    }
  }

  private interface Job {
    void run(Worker worker, MemorySegment block);

    /** The worker has no task: gives back what the job holds. */
    default void refused() {}
  }

  private final Kernel kernel;
  private final Consumer<String> log;
  private final List<Worker> workers = new ArrayList<>(); // guarded by this
  private final List<Connection> connections = new ArrayList<>(); // guarded by this
  private final CountDownLatch stop = new CountDownLatch(1);
  private volatile boolean closing;
  private volatile int rootTid;

  private HostLoopback(Kernel kernel, Consumer<String> log) {
    this.kernel = kernel;
    this.log = log;
  }

  /**
   * Starts to listen.
   *
   * @param ports on both sides
   * @throws DeviceException if the device's kernel refuses
   */
  static HostLoopback start(Kernel kernel, List<Integer> ports, Consumer<String> log)
      throws DeviceException {
    HostLoopback loopback = new HostLoopback(kernel, log);
    boolean done = false;
    try {
      loopback.open(ports);
      done = true;
    } finally {
      if (!done) {
        loopback.close();
      }
    }
    return loopback;
  }

  private void open(List<Integer> ports) throws DeviceException {
    CountDownLatch rooted = new CountDownLatch(1);
    // Holds the table of descriptors for all others.
    startWorker(
        new Worker(
            "host-loopback",
            true,
            new Job() {
              @Override
              public void run(Worker worker, MemorySegment block) {
                rootTid = worker.tid;
                rooted.countDown();
                awaitStop();
              }

              @Override
              public void refused() {
                rooted.countDown();
              }
            }));
    await(rooted);
    if (rootTid <= 0) {
      throw new DeviceException("The device's kernel gives no task for --host-loopback.");
    }
    for (int port : ports) {
      CountDownLatch listening = new CountDownLatch(1);
      AtomicInteger result = new AtomicInteger(-Errno.EAGAIN);
      startWorker(
          new Worker(
              "host-loopback-" + port,
              false,
              new Job() {
                @Override
                public void run(Worker worker, MemorySegment block) {
                  long fd = listen(block, port);
                  result.set((int) Math.min(fd, 0));
                  listening.countDown();
                  if (fd >= 0) {
                    accept(block, (int) fd, port);
                  }
                }

                @Override
                public void refused() {
                  listening.countDown();
                }
              }));
      await(listening);
      if (result.get() < 0) {
        throw new DeviceException(
            "--host-loopback " + port + ": " + Errno.name(-result.get()) + " on the device.");
      }
    }
  }

  private boolean startWorker(Worker worker) {
    synchronized (this) {
      if (closing) {
        return false;
      }
      workers.add(worker);
    }
    worker.thread.start();
    return true;
  }

  private long listen(MemorySegment block, int port) {
    long fd = call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_STREAM, 0, 0);
    if (fd < 0) {
      return fd;
    }
    block.set(ValueLayout.JAVA_INT, OPTION, 1);
    kernel.syscall(
        Canonical.SETSOCKOPT,
        fd,
        Socket.SOL_SOCKET,
        Socket.SO_REUSEADDR,
        block.address() + OPTION,
        4,
        0);
    address(block, port);
    long r = call(Canonical.BIND, fd, block.address() + ADDRESS, 16, 0);
    if (r == 0) {
      r = call(Canonical.LISTEN, fd, BACKLOG, 0, 0);
    }
    if (r < 0) {
      call(Canonical.CLOSE, fd, 0, 0, 0);
      return r;
    }
    return fd;
  }

  private static void address(MemorySegment block, int port) {
    block.set(ValueLayout.JAVA_SHORT, ADDRESS, (short) Socket.AF_INET);
    block.set(ValueLayout.JAVA_BYTE, ADDRESS + 2, (byte) (port >> 8));
    block.set(ValueLayout.JAVA_BYTE, ADDRESS + 3, (byte) port);
    block.set(ValueLayout.JAVA_INT, ADDRESS + 4, LOOPBACK);
    block.set(ValueLayout.JAVA_LONG, ADDRESS + 8, 0);
  }

  private void accept(MemorySegment block, int listener, int port) {
    while (!closing) {
      awaitRoom();
      long device = call(Canonical.ACCEPT4, listener, 0, 0, 0);
      if (device < 0) {
        continue; // Interrupted, or a connection that is gone already.
      }
      int machine = connect(block, port);
      if (machine < 0) {
        reset(block, (int) device);
        continue;
      }
      // What goes through must not wait for company: whoever sends has decided that already.
      block.set(ValueLayout.JAVA_INT, OPTION, 1);
      long option = block.address() + OPTION;
      Linux.setsockopt(machine, IPPROTO_TCP, TCP_NODELAY, option, 4);
      kernel.syscall(Canonical.SETSOCKOPT, device, IPPROTO_TCP, TCP_NODELAY, option, 4, 0);
      Connection connection = new Connection((int) device, machine);
      synchronized (this) {
        connections.add(connection);
      }
      connection.start(port);
    }
    call(Canonical.CLOSE, listener, 0, 0, 0);
  }

  /** A connection on the machine: a descriptor of this process, or {@code -errno}. */
  private static int connect(MemorySegment block, int port) {
    long fd = Linux.socket(Socket.AF_INET, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    if (fd < 0) {
      return (int) fd;
    }
    address(block, port);
    long r = Linux.connect((int) fd, block.address() + ADDRESS, 16);
    if (r < 0) {
      Linux.close((int) fd);
      return (int) r;
    }
    return (int) fd;
  }

  /** Closes with a reset: what a refused connection looks like once it was accepted. */
  private void reset(MemorySegment block, int device) {
    block.set(ValueLayout.JAVA_INT, OPTION, 1);
    block.set(ValueLayout.JAVA_INT, OPTION + 4, 0);
    kernel.syscall(
        Canonical.SETSOCKOPT, device, Socket.SOL_SOCKET, SO_LINGER, block.address() + OPTION, 8, 0);
    call(Canonical.CLOSE, device, 0, 0, 0);
  }

  /** Two sockets and the two pumps between them. */
  private final class Connection {
    private final int device;
    private final int machine;
    private final AtomicInteger pumps = new AtomicInteger(2);

    Connection(int device, int machine) {
      this.device = device;
      this.machine = machine;
    }

    void start(int port) {
      Worker inward = new Worker("host-loopback-" + port + "-in", false, pump(true));
      Worker outward = new Worker("host-loopback-" + port + "-out", false, pump(false));
      // A worker that does not start is a pump that has ended; the acceptor's task closes for it.
      if (!startWorker(inward)) {
        ended(true);
      }
      if (!startWorker(outward)) {
        ended(true);
      }
    }

    private Job pump(boolean inward) {
      return new Job() {
        @Override
        public void run(Worker worker, MemorySegment block) {
          MemorySegment data = block.asSlice(DATA);
          copy(inward, data);
          ended(true);
        }

        @Override
        public void refused() {
          abort();
          ended(false);
        }
      };
    }

    private void copy(boolean inward, MemorySegment data) {
      while (true) {
        long n;
        do {
          n = inward ? receiveMachine(data) : receiveDevice(data);
        } while (n == -Errno.EINTR && !closing);
        if (n <= 0) {
          break;
        }
        for (long sent = 0; sent < n; ) {
          long s = inward ? sendDevice(data, sent, n) : sendMachine(data, sent, n);
          if (s < 0 && (s != -Errno.EINTR || closing)) {
            abort();
            return;
          }
          sent += Math.max(0, s);
        }
      }
      if (inward) {
        call(Canonical.SHUTDOWN, device, Socket.SHUT_WR, 0, 0);
      } else {
        Linux.shutdown(machine, Socket.SHUT_WR);
      }
    }

    private long receiveMachine(MemorySegment data) {
      return Linux.read(machine, data.address(), data.byteSize());
    }

    private long receiveDevice(MemorySegment data) {
      return restart(call(Canonical.READ, device, data.address(), data.byteSize(), 0));
    }

    private long sendMachine(MemorySegment data, long from, long to) {
      return Linux.syscall(
          SyscallNumbers.SENDTO,
          machine,
          data.address() + from,
          to - from,
          Socket.MSG_NOSIGNAL,
          0,
          0);
    }

    private long sendDevice(MemorySegment data, long from, long to) {
      return restart(
          call(Canonical.SENDTO, device, data.address() + from, to - from, Socket.MSG_NOSIGNAL));
    }

    /** Makes both pumps end. Any thread: only the machine's socket is touched. */
    void abort() {
      Linux.shutdown(machine, Socket.SHUT_RDWR);
    }

    private void ended(boolean hasTask) {
      if (pumps.decrementAndGet() > 0) {
        return;
      }
      synchronized (HostLoopback.this) {
        connections.remove(this);
        HostLoopback.this.notifyAll();
      }
      Linux.close(machine);
      if (hasTask) {
        call(Canonical.CLOSE, device, 0, 0, 0);
      }
    }
  }

  private static long restart(long result) {
    return result == -Errno.ERESTARTSYS ? -Errno.EINTR : result;
  }

  private long call(int number, long a0, long a1, long a2, long a3) {
    return kernel.syscall(number, a0, a1, a2, a3, 0, 0);
  }

  private synchronized void awaitRoom() {
    while (connections.size() >= MAX_CONNECTIONS && !closing) {
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  private void awaitStop() {
    await(stop);
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Ends all connections and waits for the threads. */
  @Override
  public void close() {
    List<Worker> left;
    synchronized (this) {
      closing = true;
      notifyAll();
      for (Connection connection : connections) {
        connection.abort();
      }
    }
    // The root goes last: the others' descriptors live in its table until they have closed them.
    do {
      synchronized (this) {
        left = new ArrayList<>(workers);
      }
      left.removeIf(worker -> worker.first);
      for (Worker worker : left) {
        worker.strike();
      }
      for (Worker worker : left) {
        Threads.join(worker.thread, 2);
      }
    } while (!left.isEmpty());
    stop.countDown();
    synchronized (this) {
      left = new ArrayList<>(workers);
    }
    for (Worker worker : left) {
      Threads.join(worker.thread);
    }
  }
}
