// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Stat;
import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The files of an export that the kernel knows: a path descriptor for each, found by number or by
 * what the file is. The kernel says when it forgets one. Any thread.
 */
final class FuseNodes {
  private static final int FIRST_BUCKETS = 64;

  /** A file that the kernel knows. */
  static final class Node extends OpenFiles.Entry {
    final int type;
    private final long device;
    private final long inode;
    private final long mount;
    private long lookups;
    private @Nullable Node next;

    // What the kernel was last told, and what the file was at the latest when the kernel last had
    // reason to drop its pages of it; both guarded by the node.
    private final FileStamp told = new FileStamp();
    private final FileStamp pages = new FileStamp();

    // Of opens that the server is not told of; guarded by the node.
    private int contents = -1;
    private final FileStamp seen = new FileStamp();

    /** The next reply about it says a time of modification that is wrong by a nanosecond. */
    private boolean veiled;

    private Node(int fd, MemorySegment statx) {
      super(fd);
      type = statx.get(ValueLayout.JAVA_SHORT, Stat.STATX_MODE) & Stat.S_IFMT;
      device = device(statx);
      inode = statx.get(ValueLayout.JAVA_LONG, Stat.STATX_INO);
      mount = statx.get(ValueLayout.JAVA_LONG, Stat.STATX_MOUNT);
      told.set(statx, 0);
      pages.set(statx, 0);
    }

    private boolean is(MemorySegment statx) {
      return inode == statx.get(ValueLayout.JAVA_LONG, Stat.STATX_INO)
          && device == device(statx)
          && mount == statx.get(ValueLayout.JAVA_LONG, Stat.STATX_MOUNT);
    }

    private static long device(MemorySegment statx) {
      return (long) statx.get(ValueLayout.JAVA_INT, Stat.STATX_DEV_MAJOR) << 32
          | Integer.toUnsignedLong(statx.get(ValueLayout.JAVA_INT, Stat.STATX_DEV_MINOR));
    }

    /** The kernel is told these attributes. */
    synchronized void told(MemorySegment statx) {
      if (!told.isModifiedAt(statx, 0)) {
        pages.set(statx, 0); // It drops them by itself: fuse_change_attributes().
      }
      told.set(statx, 0);
    }

    /** The same, for a reply that says nothing else. */
    synchronized void tell(MemorySegment statx) {
      if (veiled) {
        veiled = false;
        long nanos = Stat.STATX_MTIME + Stat.STATX_NANOS;
        statx.set(ValueLayout.JAVA_INT, nanos, statx.get(ValueLayout.JAVA_INT, nanos) ^ 1);
      }
      told(statx);
    }

    /** Whether the file has changed since the kernel was last told of it. */
    synchronized boolean stale(MemorySegment statx) {
      return !told.is(statx, 0);
    }

    /**
     * The descriptor by which the file's contents are read, open from the first time on until the
     * kernel forgets the file; or {@code -errno}. The caller has acquired the node.
     *
     * @param path where in {@code s} is room for a path
     */
    synchronized long contents(MemorySegment s, long path) {
      if (contents < 0) {
        long r = type == Stat.S_IFREG ? FuseHost.reopen(s, fd, path) : -Errno.EINVAL;
        if (r < 0) {
          return r;
        }
        contents = (int) r;
      }
      return contents;
    }

    /**
     * What {@link UntoldOpens#look} says.
     *
     * @param now where in {@code s} is what the file is now
     * @param believed where in {@code s} is what the kernel believes that it is
     */
    synchronized long opened(MemorySegment s, long now, long believed, long empty, long path) {
      long r = contents < 0 ? contents(s, path) : FuseHost.mayRead(s, fd, empty);
      if (r < 0) {
        return r;
      }
      seen.set(s, now);
      boolean dropped = pages.is(s, now);
      if (dropped && seen.is(s, believed)) {
        return UntoldOpens.CURRENT;
      }
      // By what it compares it would see no difference, and keep its pages.
      veiled |= !dropped && seen.isModifiedAt(s, believed);
      return UntoldOpens.CHANGED;
    }

    @Override
    void close() {
      if (contents >= 0) {
        Linux.close(contents);
      }
      super.close();
    }
  }

  private final OpenFiles<Node> open;
  private @Nullable Node[] buckets = new @Nullable Node[FIRST_BUCKETS];
  private final Node root;

  /**
   * @param limit how many there may be, the root included
   * @param rootFd the root's path descriptor; belongs to this object
   * @param statx of the root
   */
  FuseNodes(int limit, int rootFd, MemorySegment statx) {
    open = new OpenFiles<>(limit, (int) Fuse.ROOT_ID);
    root = new Node(rootFd, statx);
    if (!open.add(root) || root.number() != Fuse.ROOT_ID) {
      throw new IllegalArgumentException("limit " + limit);
    }
    root.lookups = Long.MAX_VALUE / 2;
    insert(root);
  }

  int count() {
    return open.count();
  }

  Node root() {
    return root;
  }

  @Nullable Node acquire(long number) {
    return open.acquire(number);
  }

  void release(Node node) {
    open.release(node);
  }

  /**
   * The node of a file that the kernel is told of once more.
   *
   * @param fd a path descriptor; belongs to this object
   * @param statx of it
   * @return null if there are too many
   */
  synchronized @Nullable Node enter(int fd, MemorySegment statx) {
    for (Node n = buckets[bucket(statx.get(ValueLayout.JAVA_LONG, Stat.STATX_INO))];
        n != null;
        n = n.next) {
      if (n.is(statx)) {
        Linux.close(fd);
        n.lookups++;
        n.told(statx);
        return n;
      }
    }
    Node n = new Node(fd, statx);
    if (!open.add(n)) {
      return null;
    }
    n.lookups = 1;
    n.told(statx);
    if (open.count() > buckets.length) {
      grow();
    }
    insert(n);
    return n;
  }

  /** The kernel forgets {@code lookups} of the times that it was told of a node. */
  synchronized void forget(long number, long lookups) {
    Node n = open.acquire(number);
    if (n == null) {
      return;
    }
    if (n != root) {
      n.lookups = lookups < 0 || lookups > n.lookups ? 0 : n.lookups - lookups;
      if (n.lookups == 0) {
        drop(n);
        open.remove(n);
      }
    }
    open.release(n);
  }

  /** Forgets all but the root. */
  synchronized void forgetAll() {
    for (Node bucket : buckets.clone()) {
      for (Node n = bucket; n != null; n = n.next) {
        if (n != root) {
          open.remove(n);
        }
      }
    }
    Arrays.fill(buckets, null);
    root.next = null;
    insert(root);
  }

  /** Closes all. */
  void close() {
    open.clear();
  }

  private int bucket(long inode) {
    return Long.hashCode((inode * 0x9e3779b97f4a7c15L) >>> 20) & (buckets.length - 1);
  }

  private void insert(Node n) {
    int b = bucket(n.inode);
    n.next = buckets[b];
    buckets[b] = n;
  }

  private void drop(Node n) {
    int b = bucket(n.inode);
    Node at = buckets[b];
    if (at == n) {
      buckets[b] = n.next;
      return;
    }
    while (at != null) {
      if (at.next == n) {
        at.next = n.next;
        return;
      }
      at = at.next;
    }
  }

  private void grow() {
    @Nullable Node[] old = buckets;
    buckets = new @Nullable Node[old.length * 2];
    for (Node bucket : old) {
      Node n = bucket;
      while (n != null) {
        Node next = n.next;
        insert(n);
        n = next;
      }
    }
  }
}
