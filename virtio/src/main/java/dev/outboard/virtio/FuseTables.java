// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FuseWire.BODY;
import static dev.outboard.virtio.FuseWire.PATH;
import static dev.outboard.virtio.FuseWire.PAYLOAD;
import static dev.outboard.virtio.FuseWire.SCRATCH_BYTES;
import static dev.outboard.virtio.FuseWire.STATX;
import static dev.outboard.virtio.FuseWire.VALID_SECONDS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Stat;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.FuseNodes.Node;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * What the kernel knows of an export: the files, and which of them it has open. Any thread.
 *
 * <p>A node or handle that is acquired stays open until it is released.
 */
final class FuseTables implements AutoCloseable {
  /** The number of a file that was opened without a message. */
  private static final long UNTOLD = 0;

  private static final int ROOM_WAITS = 100;
  private static final int ROOM_WAIT_MILLIS = 10;

  /** A file or directory that the kernel has open. */
  static final class Handle extends OpenFiles.Entry {
    final boolean directory;

    /** Where the descriptor of a directory is, if known; guarded by the handle. */
    long position;

    Handle(int fd, boolean directory) {
      super(fd);
      this.directory = directory;
    }
  }

  final FuseNodes nodes;
  final OpenFiles<Handle> handles;

  /** Whether the kernel opens files without a message; set when it is told so. */
  private volatile boolean untold;

  private final int limit;
  private final int pressureAt;
  private final Runnable pressure;

  /**
   * @param rootFd a path descriptor of the directory; belongs to this object
   * @param limit how many files the kernel may know, and how many it may have open
   * @param pressure called when the kernel should forget files; must return at once
   * @throws ExportException if the directory cannot be looked at
   */
  FuseTables(int rootFd, int limit, Runnable pressure) throws ExportException {
    this.limit = limit;
    this.pressureAt = limit - limit / 4;
    this.pressure = pressure;
    this.handles = new OpenFiles<>(limit, (int) UNTOLD + 1);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment s = arena.allocate(SCRATCH_BYTES, 64);
      long r = FuseHost.statx(s, rootFd);
      if (r < 0) {
        Linux.close(rootFd);
        throw new ExportException("the directory cannot be read: " + Errno.name((int) -r));
      }
      this.nodes = new FuseNodes(limit, rootFd, s.asSlice(STATX, Stat.STATX_BYTES));
    }
  }

  /** Whether there is no room for one more file. */
  boolean full() {
    return nodes.count() >= limit;
  }

  /** Gives the kernel time to forget files, while the thread that takes requests hears of it. */
  void awaitRoom() {
    for (int i = 0; i < ROOM_WAITS && full(); i++) {
      pressure.run();
      try {
        TimeUnit.MILLISECONDS.sleep(ROOM_WAIT_MILLIS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  /** Tells the kernel of a file: its entry goes to {@code to}. The descriptor is taken over. */
  long entry(MemorySegment s, int fd, int to) {
    long r = FuseHost.statx(s, fd);
    if (r < 0) {
      Linux.close(fd);
      return r;
    }
    Node node = nodes.enter(fd, s.asSlice(STATX, Stat.STATX_BYTES));
    int known = nodes.count();
    if (known >= pressureAt) {
      pressure.run();
    }
    if (node == null) {
      return -Errno.ENFILE;
    }
    s.asSlice(to, Fuse.ENTRY_BYTES).fill((byte) 0);
    s.set(JAVA_LONG, to + Fuse.ENTRY_NODE, node.number());
    s.set(JAVA_LONG, to + Fuse.ENTRY_VALID, VALID_SECONDS);
    s.set(JAVA_LONG, to + Fuse.ENTRY_ATTR_VALID, VALID_SECONDS);
    FuseWire.attribute(s, to + Fuse.ENTRY_ATTR);
    return Fuse.ENTRY_BYTES;
  }

  /** Tells the kernel of what was just made. */
  long made(MemorySegment s, Node at, long name) {
    long fd = FuseHost.openAt(at.fd, name, Fcntl.O_PATH | Fcntl.O_NOFOLLOW | Fcntl.O_CLOEXEC, 0);
    return fd < 0 ? fd : entry(s, (int) fd, PAYLOAD);
  }

  /** Tells the kernel of a file that it has opened. The descriptor is taken over. */
  long opened(MemorySegment s, Handle handle, int to, int flags) {
    if (!handles.add(handle)) {
      return -Errno.ENFILE;
    }
    s.set(JAVA_LONG, to, handle.number());
    s.set(JAVA_LONG, to + Fuse.OPEN_OUT_FLAGS, flags);
    return Fuse.OPEN_OUT_BYTES;
  }

  /** From now on the kernel opens files without a message. */
  void openUntold() {
    untold = true;
  }

  /** Whether the kernel opens files without a message. */
  boolean opensUntold() {
    return untold;
  }

  /** Whether a handle's number is that of a file which was opened without a message. */
  boolean isUntold(long number) {
    return number == UNTOLD && untold;
  }

  /**
   * What a request reads from, writes to or asks about, to be given back by {@link #leave}: a
   * handle, or, if the server was not told of the open, the file; null if there is none.
   */
  OpenFiles.@Nullable Entry open(MemorySegment s) {
    long number = s.get(JAVA_LONG, BODY);
    return isUntold(number)
        ? nodes.acquire(s.get(JAVA_LONG, Fuse.IN_NODE))
        : handles.acquire(number);
  }

  /** The same, but for directories. */
  OpenFiles.@Nullable Entry file(MemorySegment s) {
    OpenFiles.Entry open = open(s);
    if (open instanceof Handle handle && handle.directory) {
      handles.release(handle);
      return null;
    }
    return open;
  }

  /** Its descriptor, or {@code -errno}. */
  static long descriptor(OpenFiles.Entry open, MemorySegment s) {
    return open instanceof Node node ? node.contents(s, PATH) : open.fd;
  }

  /** Gives back what {@link #open} gave. */
  void leave(OpenFiles.Entry open) {
    if (open instanceof Node node) {
      nodes.release(node);
    } else if (open instanceof Handle handle) {
      handles.release(handle);
    }
  }

  /** Forgets all but the root. */
  void forgetAll() {
    handles.clear();
    nodes.forgetAll();
  }

  @Override
  public void close() {
    handles.clear();
    nodes.close();
  }
}
