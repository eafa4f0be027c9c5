// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FileIo.WAIT;
import static dev.outboard.virtio.FuseWire.BODY;
import static dev.outboard.virtio.FuseWire.MAX_IO_BYTES;
import static dev.outboard.virtio.FuseWire.NO_REPLY;
import static dev.outboard.virtio.FuseWire.PAGE_BYTES;
import static dev.outboard.virtio.FuseWire.PAYLOAD;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fuse;
import dev.outboard.virtio.FuseNodes.Node;
import dev.outboard.virtio.RequestDevice.Request;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Serves one directory of this machine by the FUSE protocol.
 *
 * <p><b>No way out.</b> The kernel names files by numbers that it was given, and by single names in
 * a directory; each number stands for a path descriptor, each name is opened with O_NOFOLLOW. So
 * neither {@code ..} nor a symbolic link leads out of the directory: links are the kernel's to
 * follow, in its own tree.
 *
 * <p><b>No copies.</b> What is read or written goes straight between the file and the kernel's page
 * cache, whose pages the request names.
 *
 * <p><b>Who acts.</b> The kernel has checked permissions ({@code default_permissions}). If this
 * process is the superuser's, what is made gets the caller's user and group, by the thread's own
 * credentials; otherwise everything is done as this process's user.
 *
 * <p><b>What is seen of others.</b> Attributes and names are good for a second, a name that is not
 * there is asked for each time. A file that has changed since the kernel was last told of it is
 * read anew when it is opened or when its new time is seen. Writes go through at once.
 *
 * <p><b>Opens.</b> Of a directory that nobody writes to through here the kernel tells no opens and
 * no ends of files; who opens one asks {@link UntoldOpens}.
 *
 * <p>Any thread that has {@link FuseCaller#enter entered} may serve. Nothing is allocated but for
 * files that are new to the kernel.
 */
final class FuseServer implements AutoCloseable {
  private static final int MAX_BACKGROUND = 64;
  private static final int CONGESTION = 48;

  private static final int FLAGS =
      Fuse.ASYNC_READ
          | Fuse.BIG_WRITES
          | Fuse.DONT_MASK
          | Fuse.AUTO_INVAL_DATA
          | Fuse.DO_READDIRPLUS
          | Fuse.READDIRPLUS_AUTO
          | Fuse.PARALLEL_DIROPS
          | Fuse.POSIX_ACL
          | Fuse.MAX_PAGES
          | Fuse.CACHE_SYMLINKS;

  private final GuestMemory guest;
  private final boolean readOnly;
  private final boolean mayBeUntold;
  private final FuseTables tables;
  private final FuseNodes nodes;
  private final UntoldOpens untold;
  private final FuseNames names;
  private final FuseAttributes attributes;
  private final FuseOpenFiles files;
  private final FuseDirectories directories;

  /**
   * @param rootFd a path descriptor of the directory; belongs to this object
   * @param mayBeUntold whether the kernel may open files without a message; read-only only
   * @param limit how many files the kernel may know, and how many it may have open
   * @param pressure called when the kernel should forget files; must return at once
   * @throws ExportException if the directory cannot be looked at
   */
  FuseServer(
      GuestMemory guest,
      int rootFd,
      boolean readOnly,
      boolean mayBeUntold,
      int limit,
      Runnable pressure)
      throws ExportException {
    if (mayBeUntold && !readOnly) {
      throw new IllegalArgumentException("the end of a file that was written to matters");
    }
    this.guest = guest;
    this.readOnly = readOnly;
    this.mayBeUntold = mayBeUntold;
    this.tables = new FuseTables(rootFd, limit, pressure);
    this.nodes = tables.nodes;
    this.untold = new UntoldOpens(nodes);
    FuseCaller caller = new FuseCaller();
    this.names = new FuseNames(tables, caller);
    this.attributes = new FuseAttributes(tables);
    this.files = new FuseOpenFiles(tables, caller, readOnly);
    this.directories = new FuseDirectories(tables);
  }

  /**
   * What stands in for messages about opens; null if the kernel sends them. Once it has mounted.
   */
  @Nullable UntoldOpens untoldOpens() {
    return tables.opensUntold() ? untold : null;
  }

  /** Files that the kernel knows. */
  int nodes() {
    return nodes.count();
  }

  /** Files that the kernel has open. */
  int handles() {
    return tables.handles.count();
  }

  @Override
  public void close() {
    tables.close();
  }

  /**
   * Serves a request that was just taken.
   *
   * @return whether it is done; if not, {@link #serveSlowly} does it
   */
  boolean serve(Request request) throws RingViolation {
    long bytes = FuseWire.take(guest, request);
    return finish(request, bytes, dispatch(request, bytes, false));
  }

  void serveSlowly(Request request) throws RingViolation {
    long bytes = request.readable.bytes();
    if (!finish(request, bytes, dispatch(request, bytes, true))) {
      throw new IllegalStateException("a worker may wait");
    }
  }

  private boolean finish(Request request, long bytes, long result) throws RingViolation {
    if (result == WAIT) {
      return false;
    }
    if (result != NO_REPLY) {
      FuseWire.reply(guest, request, bytes, result);
    }
    return true;
  }

  /**
   * Carries a request out.
   *
   * @return bytes of the reply behind its header, or {@code -errno}, {@link FileIo#WAIT}, {@link
   *     FuseWire#NO_REPLY}
   */
  private long dispatch(Request request, long bytes, boolean mayWait) {
    MemorySegment s = request.scratch;
    int opcode = FuseWire.opcode(s);
    int body = FuseWire.bodyBytes(s, bytes);
    if (readOnly && FuseWire.changes(opcode)) {
      return -Errno.EROFS;
    }
    if (body < FuseWire.least(opcode)) {
      return -Errno.EINVAL;
    }
    if (FuseWire.adds(opcode) && tables.full()) {
      if (!mayWait) {
        return WAIT;
      }
      tables.awaitRoom();
    }
    long node = s.get(JAVA_LONG, Fuse.IN_NODE);
    return switch (opcode) {
      case Fuse.READ -> files.read(request, mayWait);
      case Fuse.WRITE -> files.write(request, bytes, mayWait);
      case Fuse.RELEASE, Fuse.RELEASEDIR -> files.release(s);
      case Fuse.FORGET -> {
        nodes.forget(node, s.get(JAVA_LONG, BODY));
        yield NO_REPLY;
      }
      case Fuse.BATCH_FORGET -> {
        batchForget(s, body);
        yield NO_REPLY;
      }
      case Fuse.INIT -> init(s);
      case Fuse.DESTROY -> {
        tables.forgetAll();
        yield 0;
      }
      case Fuse.FALLOCATE, Fuse.COPY_FILE_RANGE, Fuse.FSYNC, Fuse.FSYNCDIR ->
          mayWait ? files.withHandle(s, opcode) : WAIT;
      case Fuse.LSEEK -> files.withHandle(s, opcode);
      case Fuse.READDIR, Fuse.READDIRPLUS -> directories.list(request, opcode == Fuse.READDIRPLUS);
      case Fuse.SYNCFS -> mayWait ? files.synchronize(s) : WAIT;
      default -> withNode(s, node, opcode, body, mayWait);
    };
  }

  private long withNode(MemorySegment s, long node, int opcode, int body, boolean mayWait) {
    Node at = nodes.acquire(node);
    if (at == null) {
      return -Errno.ESTALE;
    }
    try {
      return onNode(s, at, opcode, body, mayWait);
    } finally {
      nodes.release(at);
    }
  }

  private long onNode(MemorySegment s, Node at, int opcode, int body, boolean mayWait) {
    return switch (opcode) {
      case Fuse.LOOKUP -> names.lookup(s, at, body, mayWait);
      case Fuse.GETATTR -> attributes.attributes(s, at);
      case Fuse.STATX -> attributes.extendedAttributes(s, at);
      case Fuse.SETATTR -> attributes.setAttributes(s, at, mayWait);
      case Fuse.READLINK -> FuseAttributes.readLink(s, at);
      case Fuse.SYMLINK, Fuse.MKNOD, Fuse.MKDIR -> names.make(s, at, opcode, body);
      case Fuse.UNLINK, Fuse.RMDIR -> FuseNames.remove(s, at, opcode, body);
      case Fuse.RENAME, Fuse.RENAME2 -> names.rename(s, at, opcode, body);
      case Fuse.LINK -> names.link(s, at, body);
      case Fuse.OPEN -> files.open(s, at);
      case Fuse.OPENDIR -> files.openDirectory(s, at);
      case Fuse.CREATE -> files.create(s, at, body);
      case Fuse.TMPFILE -> files.temporary(s, at);
      case Fuse.STATFS -> FuseAttributes.fileSystem(s, at);
      case Fuse.SETXATTR -> FuseAttributes.setValue(s, at, body);
      case Fuse.GETXATTR -> FuseAttributes.getValue(s, at, body);
      case Fuse.LISTXATTR -> FuseAttributes.listValues(s, at);
      case Fuse.REMOVEXATTR -> FuseAttributes.removeValue(s, at, body);
      // FLUSH and ACCESS among them: the kernel does not ask again.
      default -> -Errno.ENOSYS;
    };
  }

  private long init(MemorySegment s) {
    if (s.get(JAVA_INT, BODY) != Fuse.KERNEL_VERSION) {
      return -Errno.EPROTO;
    }
    int minor = s.get(JAVA_INT, BODY + Fuse.INIT_MINOR);
    int offered = s.get(JAVA_INT, BODY + Fuse.INIT_FLAGS);
    if (mayBeUntold && (offered & Fuse.NO_OPEN_SUPPORT) != 0) {
      tables.openUntold();
    }
    FuseWire.clear(s, Fuse.INIT_OUT_BYTES);
    s.set(JAVA_INT, PAYLOAD, Fuse.KERNEL_VERSION);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_MINOR, Math.min(minor, Fuse.KERNEL_MINOR_VERSION));
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_MAX_READAHEAD, MAX_IO_BYTES);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_FLAGS, offered & FLAGS);
    s.set(JAVA_SHORT, PAYLOAD + Fuse.INIT_OUT_MAX_BACKGROUND, (short) MAX_BACKGROUND);
    s.set(JAVA_SHORT, PAYLOAD + Fuse.INIT_OUT_CONGESTION, (short) CONGESTION);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_MAX_WRITE, MAX_IO_BYTES);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_TIME_GRANULARITY, 1);
    s.set(JAVA_SHORT, PAYLOAD + Fuse.INIT_OUT_MAX_PAGES, (short) (MAX_IO_BYTES / PAGE_BYTES));
    return Fuse.INIT_OUT_BYTES;
  }

  private void batchForget(MemorySegment s, int body) {
    long count = Integer.toUnsignedLong(s.get(JAVA_INT, BODY));
    long room = ((long) body - Fuse.BATCH_FORGET_IN_BYTES) / Fuse.FORGET_ONE_BYTES;
    for (int i = 0; i < Math.min(count, room); i++) {
      int one = BODY + Fuse.BATCH_FORGET_IN_BYTES + i * Fuse.FORGET_ONE_BYTES;
      nodes.forget(s.get(JAVA_LONG, one), s.get(JAVA_LONG, one + 8));
    }
  }
}
