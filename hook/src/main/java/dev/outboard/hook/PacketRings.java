// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Memory;
import dev.outboard.abi.PacketSocket;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Tpacket;
import dev.outboard.channel.CallSlot;
import dev.outboard.posix.Linux;
import dev.outboard.posix.SealedMemory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The receive rings of the program's packet sockets: PACKET_RX_RING, and what has to do with it.
 *
 * <p>A ring is memory of the host, filled by a {@link RingFeed}; the device's kernel knows nothing
 * of it. Options that it would keep apart while there is a ring are kept apart here. (Decision:
 * {@code docs/adr/0026}.)
 *
 * <p>Bounded in number and in memory, which is all allocated when a ring is made. Any thread may
 * call; making and giving up rings is one thread's at a time.
 */
final class PacketRings implements AutoCloseable {
  private static final int MAX_RINGS = 64;

  /** As much as a program can have of a kernel without further ado, for all rings together. */
  private static final long MAX_BYTES = 512L << 20;

  /** What the device's socket may hold until it is fetched; a ring may be larger. */
  private static final int MOST_QUEUED_BYTES = 4 << 20;

  /** What {@code /proc/PID/maps} shows of a ring. */
  private static final String MEMORY_NAME = "packet-ring";

  private static final int SO_ATTACH_FILTER = 26;
  private static final int SO_DETACH_FILTER = 27;
  private static final int SOCK_PACKET = 10;
  private static final long PAGE_MASK = 4095;

  // Arguments of getsockopt and setsockopt.
  private static final int LEVEL = 1;
  private static final int NAME = 2;
  private static final int VALUE = 3;
  private static final int LENGTH = 4;

  private final Hook.Services hook;
  private final List<RingFeed> feeds = new CopyOnWriteArrayList<>();
  private final ReentrantLock setting = new ReentrantLock();
  private final AtomicLong bytes = new AtomicLong();
  private volatile boolean closed;

  PacketRings(Hook.Services hook) {
    this.hook = hook;
  }

  /** Whether there are rings; mostly not. */
  boolean any() {
    return !feeds.isEmpty();
  }

  /** A thread of the program is about to look at a file: its ring, if any, shows what it holds. */
  void look(Notification n, Placeholder p) {
    for (RingFeed feed : feeds) {
      if (feed.placeholder().equals(p)) {
        feed.look(n);
      }
    }
  }

  /**
   * The same for whatever is in an epoll set: all rings show what they hold. Those that the process
   * was the last to use are looked at more closely, for others' it is not to wait.
   */
  void look(Notification n) {
    for (RingFeed feed : feeds) {
      feed.look(feed.placeholder().isHeldBy(n.process().pidfd()) ? n : null);
    }
  }

  /** Serves setsockopt of a packet socket: what to answer. */
  long setOption(Notification n, Placeholder p, OpenFile file) {
    int level = n.intArg(LEVEL);
    int name = n.intArg(NAME);
    if (level == PacketSocket.SOL_PACKET && name == Tpacket.RX_RING) {
      return setRing(n, p, file);
    }
    RingFeed feed = file.ring();
    if (feed == null) {
      return hook.calls().run(n, p);
    }
    if (level == Socket.SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_DETACH_FILTER)) {
      long r = hook.calls().run(n, p);
      if (r == 0) {
        // Programs judge by what is in the ring now which packets the filter has not seen.
        n.willBlock();
        feed.flush();
      }
      return r;
    }
    if (level != PacketSocket.SOL_PACKET) {
      return hook.calls().run(n, p);
    }
    return switch (name) {
      case Tpacket.VERSION, Tpacket.RESERVE, Tpacket.LOSS -> busy(n, name, true);
      case PacketSocket.VNET_HDR, PacketSocket.VNET_HDR_SZ ->
          file.type() == Socket.SOCK_RAW ? busy(n, name, false) : -Errno.EINVAL;
      case Tpacket.AUXDATA -> {
        long value = value(n, false);
        if (value >= 0) {
          feed.auxiliary((int) value != 0 ? 1 : 0);
        }
        yield Math.min(value, 0);
      }
      default -> hook.calls().run(n, p);
    };
  }

  /** What cannot change while there is a ring; but what is wrong with it is found out first. */
  private static long busy(Notification n, int name, boolean exactly) {
    long value = value(n, exactly);
    if (value < 0) {
      return value;
    }
    boolean valid =
        switch (name) {
          case Tpacket.VERSION -> value <= Tpacket.V3;
          case Tpacket.RESERVE -> value <= Integer.MAX_VALUE;
          case PacketSocket.VNET_HDR_SZ -> value == 0 || value == 10 || value == 12;
          default -> true;
        };
    return valid ? -Errno.EBUSY : -Errno.EINVAL;
  }

  /** The option's value as an unsigned int, or {@code -errno}. */
  private static long value(Notification n, boolean exactly) {
    int length = n.intArg(LENGTH);
    if (length < Integer.BYTES || (exactly && length != Integer.BYTES)) {
      return -Errno.EINVAL;
    }
    MemorySegment value = n.statScratch();
    long r = n.memory().read(n.args()[VALUE], value, 0, Integer.BYTES);
    return r < 0 ? r : Integer.toUnsignedLong(value.get(ValueLayout.JAVA_INT, 0));
  }

  /**
   * Makes right what the device has answered to getsockopt, in the program's memory.
   *
   * @return 0 or {@code -errno}
   */
  long adjustOption(Notification n, RingFeed feed) {
    int level = n.intArg(LEVEL);
    int name = n.intArg(NAME);
    if (level == Socket.SOL_SOCKET && name == Socket.SO_ERROR) {
      int error = feed.takeError();
      return error == 0 ? 0 : adjust(n, 0, error, false);
    }
    if (level != PacketSocket.SOL_PACKET) {
      return 0;
    }
    return switch (name) {
      case Tpacket.AUXDATA -> adjust(n, 0, feed.auxiliary(), false);
      case Tpacket.STATISTICS -> {
        // The device has counted all that it received, these among them.
        long r = adjust(n, Tpacket.STATS_DROPS, feed.takeDrops(), true);
        int freezes = feed.takeFreezes();
        yield r < 0 || feed.request().version() != Tpacket.V3
            ? r
            : adjust(n, Tpacket.STATS_FREEZES, freezes, true);
      }
      default -> 0;
    };
  }

  /** Changes one int of the value, as far as the program has room for it. */
  private static long adjust(Notification n, int at, int number, boolean adds) {
    MemorySegment scratch = n.statScratch();
    long r = n.memory().read(n.args()[LENGTH], scratch, 0, Integer.BYTES);
    if (r < 0 || scratch.get(ValueLayout.JAVA_INT, 0) < at + Integer.BYTES) {
      return r;
    }
    long address = n.args()[VALUE] + at;
    r = adds ? n.memory().read(address, scratch, 0, Integer.BYTES) : 0;
    if (r < 0) {
      return r;
    }
    int before = adds ? scratch.get(ValueLayout.JAVA_INT, 0) : 0;
    scratch.set(ValueLayout.JAVA_INT, 0, before + number);
    return n.memory().write(address, scratch, 0, Integer.BYTES);
  }

  /** Serves mmap of a packet socket. */
  void map(Notification n, OpenFile file) {
    RingFeed feed = file.ring();
    long size = n.args()[1] + PAGE_MASK & ~PAGE_MASK;
    if (feed == null || n.args()[5] != 0 || size != feed.request().bytes()) {
      n.answerErrno(Errno.EINVAL);
    } else if (!HeldThread.map(n, feed.memory())) {
      hook.messages()
          .once(
              "ring",
              "A packet ring cannot be mapped (ENODEV): process "
                  + n.process().pid()
                  + " is traced by another one, or ptrace(2) is not allowed here.");
      n.answerErrno(Errno.ENODEV);
    }
  }

  private long setRing(Notification n, Placeholder p, OpenFile file) {
    if (file.type() == SOCK_PACKET) {
      return -Errno.EOPNOTSUPP;
    }
    long version =
        hook.calls().option(n, file.handle(), PacketSocket.SOL_PACKET, Tpacket.VERSION, 0);
    long reserve =
        hook.calls().option(n, file.handle(), PacketSocket.SOL_PACKET, Tpacket.RESERVE, 0);
    if (version < 0 || reserve < 0) {
      return Math.min(version, reserve);
    }
    MemorySegment asked = n.statScratch();
    int structure = RingRequest.bytes((int) version);
    if (Integer.compareUnsigned(n.intArg(LENGTH), structure) < 0
        || n.memory().read(n.args()[VALUE], asked, 0, structure) < 0) {
      return -Errno.EINVAL;
    }
    RingRequest request =
        RingRequest.read(
            asked, (int) version, (int) reserve, file.type() == Socket.SOCK_DGRAM, prefix(n, file));
    n.willBlock();
    setting.lock();
    try {
      RingFeed old = file.ring();
      if (old != null && (mapped(old) || !request.frees())) {
        return -Errno.EBUSY;
      }
      long r = request.check();
      if (r == 0 && !request.frees()) {
        r = make(n, p, file, request);
      } else if (r == 0 && old != null) {
        free(n, p, file);
      }
      return r;
    } finally {
      setting.unlock();
    }
  }

  /** The length of the header that the socket puts before each packet. */
  private int prefix(Notification n, OpenFile file) {
    long size =
        hook.calls().option(n, file.handle(), PacketSocket.SOL_PACKET, PacketSocket.VNET_HDR_SZ, 0);
    if (size >= 0) {
      return (int) size;
    }
    long on =
        hook.calls().option(n, file.handle(), PacketSocket.SOL_PACKET, PacketSocket.VNET_HDR, 0);
    return on > 0 ? PacketSocket.VNET_HDR_BYTES : 0;
  }

  private long make(Notification n, Placeholder p, OpenFile file, RingRequest request) {
    long size = request.bytes();
    if (closed || feeds.size() >= MAX_RINGS || size > MAX_BYTES - bytes.get()) {
      return -Errno.ENOMEM;
    }
    int fd = SealedMemory.allocate(MEMORY_NAME, size);
    if (fd < 0) {
      return -Errno.ENOMEM;
    }
    long address =
        Linux.mmap(0, size, Memory.PROT_READ | Memory.PROT_WRITE, Memory.MAP_SHARED, fd, 0);
    CallSlot slot = address < 0 && address > -4096 ? null : hook.calls().attachOwn();
    if (slot == null || !file.use()) {
      if (slot != null) {
        hook.link().detach(slot);
      }
      if (address >= 0 || address <= -4096) {
        Linux.munmap(address, size);
      }
      Linux.close(fd);
      return -Errno.ENOMEM;
    }
    MemorySegment memory = Linux.at(address, size);
    PacketRing ring =
        request.version() == Tpacket.V3
            ? new BlockRing(memory, request, PacketRings::wallNanos, System.nanoTime())
            : new FrameRing(memory, request);
    bytes.addAndGet(size);
    @Nullable RingFeed[] made = new @Nullable RingFeed[1];
    RingFeed feed =
        new RingFeed(
            hook,
            file,
            p,
            slot,
            ring,
            new RingPacket(PacketRings::wallNanos),
            fd,
            prepare(n, file, size),
            () -> {
              bytes.addAndGet(-size);
              feeds.remove(made[0]);
            });
    made[0] = feed;
    feeds.add(feed);
    feed.start();
    if (!file.ring(feed)) {
      feed.stop(); // closed meanwhile
    }
    return 0;
  }

  /**
   * Makes the device tell of each packet what a ring says of it, and keep some until they are
   * fetched.
   *
   * @return what PACKET_AUXDATA was before
   */
  private int prepare(Notification n, OpenFile file, long size) {
    DeviceCalls calls = hook.calls();
    int handle = file.handle();
    long auxiliary = calls.option(n, handle, PacketSocket.SOL_PACKET, Tpacket.AUXDATA, 0);
    calls.setOption(n, handle, PacketSocket.SOL_PACKET, Tpacket.AUXDATA, 1);
    if (calls.option(n, handle, Socket.SOL_SOCKET, Socket.SO_TIMESTAMP, 0) <= 0) {
      calls.setOption(n, handle, Socket.SOL_SOCKET, Socket.SO_TIMESTAMPNS, 1);
    }
    int queued = (int) Math.min(size, MOST_QUEUED_BYTES);
    // The kernel doubles what is set.
    if (calls.option(n, handle, Socket.SOL_SOCKET, Socket.SO_RCVBUF, 0) < 2L * queued
        && calls.setOption(n, handle, Socket.SOL_SOCKET, Socket.SO_RCVBUFFORCE, queued) < 0) {
      calls.setOption(n, handle, Socket.SOL_SOCKET, Socket.SO_RCVBUF, queued);
    }
    return auxiliary > 0 ? 1 : 0;
  }

  private void free(Notification n, Placeholder p, OpenFile file) {
    RingFeed feed = file.takeRing();
    if (feed == null) {
      return;
    }
    feed.stop();
    feed.join();
    hook.calls()
        .setOption(n, file.handle(), PacketSocket.SOL_PACKET, Tpacket.AUXDATA, feed.auxiliary());
    p.ringEnded();
    hook.calls().sample(n, p);
  }

  /** Whether a process of the program has the ring's memory mapped. */
  private boolean mapped(RingFeed feed) {
    String inode = " " + Placeholder.inodeOf(feed.memory()) + " ";
    for (ProcessEntry process : hook.processes().processes()) {
      if (maps(process.pid(), inode)) {
        return true;
      }
    }
    return false;
  }

  private static boolean maps(int pid, String inode) {
    try (Stream<String> lines = Files.lines(Path.of("/proc/" + pid + "/maps"))) {
      return lines.anyMatch(
          line -> line.contains(inode) && line.contains(" /memfd:" + MEMORY_NAME));
    } catch (IOException | UncheckedIOException e) {
      return false; // It is gone.
    }
  }

  private static long wallNanos() {
    Instant now = Instant.now();
    return now.getEpochSecond() * 1_000_000_000 + now.getNano();
  }

  /** Ends all feeds. */
  @Override
  public void close() {
    closed = true;
    for (RingFeed feed : feeds) {
      feed.stop();
    }
    for (RingFeed feed : feeds) {
      feed.join();
    }
  }
}
