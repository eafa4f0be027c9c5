// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static dev.outboard.abi.Poll.POLLERR;
import static dev.outboard.abi.Poll.POLLHUP;
import static dev.outboard.abi.Poll.POLLIN;
import static dev.outboard.abi.Poll.POLLOUT;
import static dev.outboard.abi.Poll.POLLPRI;
import static dev.outboard.abi.Poll.POLLRDBAND;
import static dev.outboard.abi.Poll.POLLRDHUP;
import static dev.outboard.abi.Poll.POLLRDNORM;
import static dev.outboard.abi.Poll.POLLWRBAND;
import static dev.outboard.abi.Poll.POLLWRNORM;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * What stands on the host for one open file of the device: a connected pair of Unix stream sockets.
 *
 * <p>The program holds <em>end B</em>, at the number that it believes to be its socket; the hook
 * holds <em>end A</em>. The host's kernel shares end B over dup, fork, exec and SCM_RIGHTS as it
 * shares any open file, and says when the last reference is gone: end A hangs up. The program's own
 * poll, select and epoll look at end B, so the device's readiness is shown there by <em>tokens</em>
 * (checked by experiment, {@code PlaceholderTest}; source: {@code net/unix/af_unix.c}, {@code
 * unix_poll}):
 *
 * <table>
 * <caption>Tokens</caption>
 * <tr><th>shown at B</th><th>set</th><th>cleared</th></tr>
 * <tr><td>IN</td><td>A sends a byte; each further byte is a new edge</td><td>B reads all</td></tr>
 * <tr><td>OUT</td><td>A reads all (B may write again: an edge)</td>
 *     <td>B, whose send buffer is small, fills it with one message</td></tr>
 * <tr><td>PRI</td><td>A sends a byte out of band (B shows IN as well)</td>
 *     <td>B receives it</td></tr>
 * <tr><td>RDHUP, IN</td><td>A shuts down its writing</td><td>never</td></tr>
 * <tr><td>HUP, RDHUP, IN, OUT</td><td>A shuts down both ways</td><td>never</td></tr>
 * </table>
 *
 * <p>All that is set is set by end A alone, at once, by any thread. What is cleared needs end B: it
 * is borrowed for microseconds from a process that holds it ({@code pidfd_getfd}), recognised by
 * its inode, and closed. While it is borrowed the last close of the program cannot show, so
 * borrowing and {@link #reap} exclude each other.
 *
 * <p>IN is cleared lazily, by {@link #settle} when a thread of the program is about to look: a
 * server reads all and waits only after it has answered, and often the next request is there by
 * then. OUT is cleared at once: a program that got EAGAIN may hang if the edge back to OUT is not
 * seen.
 *
 * <p><b>Order.</b> Samples of the device's mask come by several ways: results of calls, frames.
 * Each has a stamp and the newest is the truth; an older one is ignored, <em>except</em> that an
 * edge is an edge even if a newer sample overtook it: the newer one may have been taken after data
 * came but belong to a call that had copied its bytes before. So an edge frame always becomes a new
 * byte while the mask still says IN, once: the device counts them. Too many edges are allowed (a
 * program that asks for edges must be ready for EAGAIN), a lost one hangs it. OUT likewise: where
 * the mask went from not writable to writable while the token had no time to show it, OUT is
 * <em>pulsed</em>: B sends one byte, A reads it, and the host's kernel reports an edge.
 *
 * <p><b>Signals.</b> With O_ASYNC, and an owner, the host's kernel makes signals of the same edges
 * ({@code sock_wake_async}, {@code sk_send_sigurg}): of a byte, of one out of band, of a shutdown;
 * of room only if end B has met a full buffer since O_ASYNC was set, so that is brought about
 * first. {@link #announce} has urgent data's end shown at once, so that the next ones are an edge.
 *
 * <p><b>What it cannot show.</b> ERR: shown as IN and OUT, so that the program calls and gets its
 * error. HUP of a socket that was never connected, or whose connect failed: likewise, since HUP
 * cannot be taken back and such a socket can still be connected. PRI brings IN with it. {@link
 * Pollers} answers exactly where it may answer at all.
 *
 * <p>Any thread may call; all state is under the object's own lock, which is held for a few system
 * calls that do not block.
 */
final class Placeholder {
  /** Masks that make a socket's reader return without waiting. */
  static final int READABLE = POLLIN | POLLRDNORM | POLLRDBAND | POLLRDHUP | POLLHUP | POLLERR;

  /** Masks that make a socket's writer return without waiting. */
  static final int WRITABLE = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR;

  /**
   * One message of this size takes more than a quarter of the smallest send buffer (4,608 bytes)
   * and so ends OUT.
   */
  private static final int FILLER_BYTES = 1024;

  /** With so many of them end B has no room left, whatever the kernel counts for each. */
  private static final int MAX_FILLERS = 8;

  /** End A's own send buffer holds about 270 one-byte messages; far below that. */
  static final int MAX_BYTES_SHOWN = 64;

  /** So many bytes are taken out at the next look, so that there is room for edges. */
  private static final int SURPLUS_BYTES = 16;

  private static final int SINK_BYTES = 4096;
  private static final MemorySegment FILLER = Arena.global().allocate(FILLER_BYTES);
  // What is drained goes here; nobody reads it, so threads may write it at the same time.
  private static final MemorySegment SINK = Arena.global().allocate(SINK_BYTES);

  private static final int STAT_BYTES = 144;
  private static final int STAT_INODE_OFFSET = 8;
  private static final ThreadLocal<MemorySegment> SCRATCH =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(STAT_BYTES, 8));

  /** The longest name of a memory file. */
  private static final int MAX_NAME_BYTES = 249;

  private static final long NOBODY = -1;

  private static final int IN = POLLIN | POLLRDNORM;
  private static final int OUT = POLLOUT | POLLWRNORM | POLLWRBAND;

  /** With these a socket is readable, too. */
  private static final int ENDED = POLLRDHUP | POLLHUP | POLLERR;

  private static final int ALWAYS_READY = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

  /** A memory file: {@code endA} is the hook's own open file, {@code endB} the program's. */
  private final boolean memory;

  /** The number of the watch over a memory file's closes; guarded by Placeholders' lock. */
  int watchDescriptor = -1;

  /** The program's last descriptor of the memory file is closed; guarded likewise. */
  boolean closed;

  private final boolean endsUnseen;
  private final int handle;
  private final long inode;
  private final int endA;
  private final AtomicInteger inexactOnes;
  private int endB;

  /** {@code pidfd << 32 | fd} where end B was last seen. One word, so that it is read whole. */
  private volatile long holder = NOBODY;

  private volatile boolean watched;
  private volatile boolean alwaysReady;
  private volatile boolean gone;

  /** The host's kernel makes signals of edges: each is to be shown as soon as it is known. */
  private boolean announced;

  /** Bits that show whatever the device says. */
  private int pinned;

  /** What its readers find is what was looked at ahead, not what the device's queue holds. */
  private boolean looking;

  /** There is some of that. */
  private boolean looked;

  /** Its readers look into a ring and not into the socket's queue. */
  private boolean ringed;

  /** What the device says of its queue. */
  private boolean queued;

  /** What is sent ahead has no room for more. */
  private boolean full;

  /** What the device says of its own room. */
  private boolean room = true;

  // The device's truth, as far as it is known.
  private int mask = POLLOUT;

  private boolean hadUrgent;
  private long stamp;
  private boolean connected;

  /** When the file was first known to be watched; what is older is about another one. */
  private long watchedFrom;

  /** The device's count of edges up to which they were shown. */
  private int edgesShown;

  // The newest sample that came before the file was known to be watched.
  private int earlyMask;
  private long earlyStamp;
  private int earlyEdges;

  // What end B shows.
  private int bytesShown;
  private boolean urgentShown;
  private boolean everUrgent;
  private boolean outHidden;
  private boolean readHangupShown;
  private boolean hangupShown;
  private boolean pulseDue;

  /** Counted among the inexact ones. */
  private boolean inexact;

  /** Edges that could not be shown since no process known to hold end B had it. */
  private long edgesLost;

  // Intrusive membership of Readiness' list of stale placeholders; guarded by that list's lock.
  @Nullable Placeholder nextStale;
  boolean inStaleList;

  /** When a holder was last searched for in vain, 0 for never; under Readiness' lock. */
  long searchedAt;

  // Guarded by Placeholders' lock over closes in flight.
  boolean inClosingList;
  long closeDeadline;

  private Placeholder(
      int handle,
      long inode,
      int endA,
      int endB,
      boolean connected,
      boolean memory,
      boolean endsUnseen,
      AtomicInteger inexactOnes) {
    this.memory = memory;
    this.endsUnseen = endsUnseen;
    this.inexactOnes = inexactOnes;
    this.handle = handle;
    this.inode = inode;
    this.endA = endA;
    this.endB = endB;
    this.connected = connected;
  }

  /**
   * Makes a pair for an open file of the device. End B is the caller's until {@link #releaseEndB}.
   *
   * @param nonBlocking whether end B carries O_NONBLOCK, which the program can read by F_GETFL
   * @param connected whether the socket is known to be connected (it came from accept)
   * @param inexactOnes counts the placeholders that are {@link #inexact}
   * @return null when the hook has no descriptor or memory left
   */
  static @Nullable Placeholder open(
      int handle, boolean nonBlocking, boolean connected, AtomicInteger inexactOnes) {
    MemorySegment scratch = SCRATCH.get();
    int type = Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC | (nonBlocking ? Socket.SOCK_NONBLOCK : 0);
    if (Linux.socketpair(Socket.AF_UNIX, type, 0, scratch.address()) < 0) {
      return null;
    }
    int a = scratch.get(ValueLayout.JAVA_INT, 0);
    int b = scratch.get(ValueLayout.JAVA_INT, 4);
    // The kernel raises 1 to its minimum; with it one small message ends OUT.
    scratch.set(ValueLayout.JAVA_INT, 0, 1);
    Linux.setsockopt(b, Socket.SOL_SOCKET, Socket.SO_SNDBUF, scratch.address(), 4);
    long inode = inodeOf(b);
    if (inode < 0) {
      Linux.close(a);
      Linux.close(b);
      return null;
    }
    return new Placeholder(handle, inode, a, b, connected, false, false, inexactOnes);
  }

  /**
   * Makes a memory file for a regular file of the device: it can be mapped, poll finds it ready and
   * epoll refuses it, as natively. The program's end is an open file of its own, read-only, so that
   * no mapping can write.
   *
   * @param name what {@code /proc/PID/fd} shows
   * @param endsUnseen whether programs may close it without a word
   * @return null when the hook has no descriptor or memory left
   */
  static @Nullable Placeholder openMemory(
      int handle, byte[] name, boolean endsUnseen, AtomicInteger inexactOnes) {
    try (Arena arena = Arena.ofConfined()) {
      int length = Math.min(name.length, MAX_NAME_BYTES);
      MemorySegment text = arena.allocate(MAX_NAME_BYTES + 1L);
      MemorySegment.copy(name, 0, text, ValueLayout.JAVA_BYTE, 0, length);
      long a = Linux.memfdCreate(text.address(), Memory.MFD_CLOEXEC);
      if (a < 0) {
        return null;
      }
      long b =
          Linux.open(
              Linux.cString(arena, "/proc/self/fd/" + a).address(),
              Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
      long inode = b < 0 ? b : inodeOf((int) b);
      if (inode < 0) {
        Linux.close((int) a);
        if (b >= 0) {
          Linux.close((int) b);
        }
        return null;
      }
      Placeholder p =
          new Placeholder(handle, inode, (int) a, (int) b, true, true, endsUnseen, inexactOnes);
      p.ready();
      return p;
    }
  }

  /** It is ready for reading and writing, now and always, as a file that is no socket is. */
  synchronized void ready() {
    alwaysReady = true;
    watched = true;
    stamp = Long.MAX_VALUE;
    mask = ALWAYS_READY;
    if (!memory) {
      show(0);
    }
  }

  /** Whether epoll would refuse the file that it stands for. */
  boolean alwaysReady() {
    return alwaysReady;
  }

  /** {@link OpenFile#quiet} of what it stands for. */
  boolean endsUnseen() {
    return endsUnseen;
  }

  /** Whether it is a memory file and not a socket. */
  boolean memory() {
    return memory;
  }

  /** The number of the open file on the device. It is reused there once this one is closed. */
  int handle() {
    return handle;
  }

  /** The inode of end B, by which a descriptor of the program is recognised. */
  long inode() {
    return inode;
  }

  int endA() {
    return endA;
  }

  /** The hook's own descriptor of end B, to be installed in the program. */
  int endB() {
    return endB;
  }

  /**
   * Closes the hook's own descriptor of end B: now the program's references alone count. Also how a
   * placeholder that could not be installed is given up.
   */
  synchronized void releaseEndB() {
    if (endB >= 0) {
      Linux.close(endB);
      endB = -1;
    }
  }

  /** Remembers where end B can be borrowed: descriptor {@code fd} of the process. */
  void heldBy(int pidfd, int fd) {
    long h = (long) pidfd << 32 | fd;
    // Mostly unchanged; a read is cheaper than a write that other threads' caches must see.
    if (holder != h) {
      holder = h;
    }
  }

  /** Whether that is where it was last seen. */
  boolean isHeldBy(int pidfd) {
    long h = holder;
    return h != NOBODY && (int) (h >>> 32) == pidfd;
  }

  /** Whether the device reports this file's readiness. */
  boolean watched() {
    return watched;
  }

  /** Whether the last reference is gone; the handle may belong to another file already. */
  boolean gone() {
    return gone;
  }

  /** Notes that the socket is connected, so that HUP, once it comes, is for good. */
  synchronized void connected() {
    connected = true;
  }

  /** Whether the socket is known to be connected, or to have been. */
  synchronized boolean isConnected() {
    return connected;
  }

  /** Whether its open file has O_NONBLOCK; false if nobody is known who holds it. */
  synchronized boolean nonBlocking() {
    int b = gone ? -Errno.EBADF : borrow();
    if (b < 0) {
      return false;
    }
    long flags = Linux.fcntl(b, Fcntl.F_GETFL, 0);
    Linux.close(b);
    return flags >= 0 && (flags & Fcntl.O_NONBLOCK) != 0;
  }

  /** Whether urgent data have ever been seen; the mark may still be there when they were read. */
  synchronized boolean hadUrgent() {
    return hadUrgent;
  }

  /** There were urgent data, which may have been read before the device told of them. */
  synchronized void sawUrgent() {
    hadUrgent = true;
  }

  /** The device's newest mask that is known here. */
  synchronized int mask() {
    return mask;
  }

  /** Whether the device says what end B cannot show. */
  synchronized boolean inexact() {
    return inexact;
  }

  /** What a look at end B finds now. */
  synchronized int shown() {
    return (bytesShown > 0 || urgentShown || readHangupShown ? POLLIN | POLLRDNORM : 0)
        | (urgentShown ? POLLPRI : 0)
        | (outHidden ? 0 : POLLOUT | POLLWRNORM | POLLWRBAND)
        | (readHangupShown ? POLLRDHUP : 0)
        | (hangupShown ? POLLHUP : 0);
  }

  synchronized long stamp() {
    return stamp;
  }

  synchronized long edgesLost() {
    return edgesLost;
  }

  /**
   * Starts to follow the device, which watches the file from this sample on.
   *
   * <p>News of an edge may have overtaken the sample: the device watches before its answer arrives.
   *
   * @return whether end B shows what the device does not say, so that {@link #settle} is due
   */
  synchronized boolean watch(int newMask, long newStamp) {
    if (!watched) {
      watched = true;
      watchedFrom = newStamp;
    }
    boolean stale = update(newMask, newStamp, -1);
    if (earlyStamp > newStamp) {
      stale = update(earlyMask, earlyStamp, earlyEdges);
    }
    earlyStamp = 0;
    return stale;
  }

  /**
   * Takes a sample of the device's mask.
   *
   * @param deviceMask poll bits, level
   * @param edges how many edges there have been, modulo {@link PseudoCall#EDGES}, if the device
   *     reports that something happened; -1 if it says only how things are
   * @return whether end B shows what the device does not say, so that {@link #settle} is due
   */
  synchronized boolean update(int deviceMask, long newStamp, int edges) {
    if (gone || memory) {
      return false;
    }
    hadUrgent |= (deviceMask & POLLPRI) != 0;
    // The end of a stream is readable whatever is left before it.
    boolean lookedAt = looking && (deviceMask & ENDED) == 0;
    int newMask = (ringed || lookedAt ? deviceMask & ~IN : deviceMask) | pinned;
    if (looking && looked) {
      newMask |= IN;
    }
    if (full) {
      newMask &= ~OUT;
    }
    if (!watched) {
      // Either it overtook the answer to WATCH, or it is about an earlier file with this handle:
      // the stamp will tell.
      if (newStamp > earlyStamp) {
        earlyStamp = newStamp;
        earlyMask = newMask;
        earlyEdges = edges;
      }
      return false;
    }
    int newEdges = newEdges(edges, newStamp);
    boolean newer = newStamp > stamp;
    // Hangup first: OUT|HUP is what a socket shows that is not connected yet.
    boolean wasWritable = (mask & WRITABLE) != 0 && (mask & POLLHUP) == 0;
    boolean writable = (newMask & WRITABLE) != 0;
    if (newer) {
      stamp = newStamp;
      mask = newMask;
      queued = (deviceMask & IN) != 0;
      room = (deviceMask & POLLOUT) != 0;
      if ((newMask & POLLOUT) != 0 && (newMask & (POLLHUP | POLLERR)) == 0) {
        connected = true;
      }
      if (writable && !wasWritable && !outHidden) {
        pulseDue = true;
      }
    } else if (!writable && wasWritable && !outHidden) {
      // A call found the buffer full and the news that it is writable again came first.
      pulseDue = true;
    }
    // The edges of bytes that are looked at are those of their arrival here.
    int edgesOf = looking ? READABLE & ~IN : READABLE;
    show((newMask & mask & edgesOf) != 0 ? newEdges : 0);
    if (pulseDue || outIsStale() || (announced && urgentIsStale())) {
      settle();
    }
    countInexact();
    return isStale();
  }

  /**
   * The program is to be told of edges by signals (O_ASYNC, or an owner for SIGURG), which the
   * host's kernel makes of those of end B. For good: what is shown too soon does no harm.
   */
  synchronized void announce() {
    announced = true;
  }

  /**
   * Shows bits that the device does not report: the hook itself has something for the program. 0
   * ends that; the next sample then tells what is true.
   */
  synchronized void pin(int bits) {
    if (pinned == bits) {
      return;
    }
    pinned = bits;
    if (!gone && watched) {
      mask |= bits;
      show(bits != 0 ? 1 : 0);
      countInexact();
    }
  }

  /**
   * What the file's readers read is a ring that the hook fills; the device's queue is nothing to
   * them.
   *
   * @param readable whether there is something for them
   * @param more whether there is more than before
   * @return whether end B shows what is not true, so that {@link #settle} is due
   */
  synchronized boolean ring(boolean readable, boolean more) {
    ringed = true;
    pinned = readable ? IN : 0;
    if (gone || !watched || stamp == Long.MAX_VALUE) {
      return false;
    }
    mask = (mask & ~IN) | pinned;
    show(readable && more ? 1 : 0);
    countInexact();
    return isStale();
  }

  /**
   * Whether writers are to wait for the room of what is sent ahead, whatever the device says of its
   * own.
   *
   * @return whether end B shows what is not true, so that {@link #settle} is due
   */
  synchronized boolean full(boolean is) {
    full = is;
    if (gone || !watched || stamp == Long.MAX_VALUE) {
      return false;
    }
    mask = !is && room ? mask | OUT : mask & ~OUT;
    show(0);
    if (!is && (mask & WRITABLE) != 0) {
      // To whoever asks for edges: there was none if it could not be shown that there is no room.
      pulseDue = true;
    }
    if (pulseDue || outIsStale()) {
      settle();
    }
    countInexact();
    return isStale();
  }

  /**
   * Whether the file's readers find what was looked at ahead, and not the device's queue.
   *
   * @param is if not, the device's word counts again
   * @param readable whether there is something for them
   * @param more whether something has come
   * @return whether end B shows what is not true, so that {@link #settle} is due
   */
  synchronized boolean look(boolean is, boolean readable, boolean more) {
    looking = is;
    looked = readable;
    if (gone || !watched || stamp == Long.MAX_VALUE) {
      return false;
    }
    boolean devices = !is || (mask & ENDED) != 0;
    boolean in = readable || (devices && queued);
    mask = (mask & ~IN) | (in ? IN : 0) | pinned;
    show(more ? 1 : 0);
    countInexact();
    return isStale();
  }

  /** There is no ring any more; the next sample tells what is true. */
  synchronized void ringEnded() {
    ringed = false;
    pinned = 0;
  }

  /** Whether the device's own queue holds something, as far as is known. */
  synchronized boolean deviceReadable() {
    return queued;
  }

  /** The device is lost: everything is ready, so that no waiter sleeps on. */
  synchronized void lost() {
    if (gone || memory) {
      return;
    }
    watched = true;
    stamp = Long.MAX_VALUE;
    mask = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP;
    show(1);
    countInexact();
  }

  /**
   * Makes end B show what the device says, which may need end B.
   *
   * @return whether it does now; false if the process last seen to hold end B has it no longer
   */
  synchronized boolean settle() {
    if (gone || !isStale()) {
      return true;
    }
    int b = borrow();
    if (b < 0) {
      return false;
    }
    try {
      if (urgentShown && (mask & POLLPRI) == 0) {
        Linux.recv(b, SINK.address(), 1, Socket.MSG_OOB | Socket.MSG_DONTWAIT);
        urgentShown = false;
        // Behind the end of the stream no byte could be sent again, and one must be left for
        // reap().
        if (!readHangupShown) {
          takeBytes(b);
        }
      } else if (!readHangupShown && !urgentShown && bytesAreStale()) {
        takeBytes(b);
      }
      if (outIsStale()) {
        outHidden =
            Linux.send(b, FILLER.address(), FILLER_BYTES, Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL)
                > 0;
        pulseDue = false;
      } else if (pulseDue) {
        if (!outHidden && !hangupShown) {
          if (announced) {
            fill(b);
          } else {
            Linux.send(b, FILLER.address(), 1, Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL);
          }
          drainEndA();
        }
        pulseDue = false;
      }
    } finally {
      Linux.close(b);
    }
    show(0);
    countInexact();
    return true;
  }

  /** Whether end B shows what the device does not say. */
  synchronized boolean isStale() {
    if (gone || memory) {
      return false;
    }
    if (outIsStale() || (pulseDue && !hangupShown)) {
      return true;
    }
    return urgentShown ? urgentIsStale() : !readHangupShown && bytesAreStale();
  }

  /**
   * Finds out whether the program's last reference to end B is gone, and if so closes end A.
   *
   * @return true exactly once in the life of a placeholder: the caller closes the handle
   */
  synchronized boolean reap() {
    if (gone || endB >= 0) {
      return false;
    }
    if (memory) {
      if (closed) {
        close();
      }
      return closed;
    }
    MemorySegment pollfd = SCRATCH.get();
    pollfd.set(ValueLayout.JAVA_INT, 0, endA);
    pollfd.set(ValueLayout.JAVA_INT, 4, 0);
    Linux.poll(pollfd.address(), 1, 0);
    int events = pollfd.get(ValueLayout.JAVA_SHORT, 6);
    // Once both ways are shut down end A always says HUP. The byte that is left in end B then
    // tells:
    // closing a socket with unread bytes gives its peer ECONNRESET.
    if ((events & (hangupShown ? POLLERR : POLLHUP)) == 0) {
      return false;
    }
    close();
    return true;
  }

  /** Closes what the hook holds, whatever the program holds. */
  synchronized void close() {
    if (!gone) {
      gone = true;
      countInexact();
      releaseEndB();
      Linux.close(endA);
    }
  }

  /** The inode of an open file, or {@code -errno}. */
  static long inodeOf(int fd) {
    MemorySegment stat = SCRATCH.get();
    long r = Linux.fstat(fd, stat.address());
    return r < 0 ? r : stat.get(ValueLayout.JAVA_LONG, STAT_INODE_OFFSET);
  }

  /** How many edges the device reports that were not shown yet; they count as shown then. */
  private int newEdges(int edges, long newStamp) {
    if (edges < 0 || newStamp < watchedFrom) {
      return 0;
    }
    int more = edges - edgesShown & PseudoCall.EDGES - 1;
    if (more >= PseudoCall.EDGES / 2) {
      return 0; // an older count, overtaken
    }
    edgesShown = edges;
    return more;
  }

  /** Whatever changes mask or tokens ends with this. */
  private void countInexact() {
    boolean now =
        !gone
            && ((mask & POLLERR) != 0
                || (mask & POLLHUP) != 0 != hangupShown
                || (mask & POLLRDHUP) != 0 != readHangupShown
                || (mask & POLLPRI) != 0 != urgentShown
                || (mask & (POLLIN | POLLPRI)) == POLLPRI
                || (hangupShown && (mask & POLLOUT) == 0));
    if (now != inexact) {
      inexact = now;
      inexactOnes.addAndGet(now ? 1 : -1);
    }
  }

  private boolean wantsIn() {
    return (mask & READABLE) != 0;
  }

  private boolean bytesAreStale() {
    return bytesShown > SURPLUS_BYTES || (bytesShown > 0 && !wantsIn());
  }

  private boolean urgentIsStale() {
    return urgentShown && (mask & POLLPRI) == 0;
  }

  private boolean outIsStale() {
    return !outHidden && !hangupShown && (mask & WRITABLE) == 0;
  }

  /** Sets every token that end A can set. Idempotent but for {@code edges}, each of them a byte. */
  private void show(int edges) {
    if ((mask & WRITABLE) != 0 && outHidden) {
      int b = announced ? borrow() : -Errno.ESRCH;
      if (b >= 0) {
        fill(b);
        Linux.close(b);
      }
      drainEndA();
      outHidden = false;
      pulseDue = false;
    }
    if ((mask & POLLPRI) != 0 && !urgentShown && !readHangupShown) {
      everUrgent = true;
      urgentShown =
          Linux.send(
                  endA,
                  FILLER.address(),
                  1,
                  Socket.MSG_OOB | Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL)
              > 0;
    }
    if (wantsIn() && !readHangupShown) {
      int bytes = Math.max(Math.min(edges, SURPLUS_BYTES), bytesShown == 0 ? 1 : 0);
      for (int i = 0; i < bytes; i++) {
        addByte();
      }
    }
    // Right behind the byte: a waiter that is fast enough to see the byte alone takes it for data,
    // reads, and finds the end.
    if (connected && bytesShown > 0) {
      showHangup();
    }
  }

  private void showHangup() {
    if ((mask & POLLHUP) != 0) {
      if (!hangupShown) {
        Linux.shutdown(endA, Socket.SHUT_RDWR);
        hangupShown = true;
        readHangupShown = true;
      }
    } else if ((mask & POLLRDHUP) != 0 && !readHangupShown) {
      Linux.shutdown(endA, Socket.SHUT_WR);
      readHangupShown = true;
    }
  }

  private void addByte() {
    if (bytesShown >= MAX_BYTES_SHOWN) {
      int b = urgentShown ? -Errno.EBUSY : borrow();
      if (b < 0) {
        edgesLost++;
        return;
      }
      takeBytes(b);
      Linux.close(b);
    }
    if (Linux.send(endA, FILLER.address(), 1, Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL) > 0) {
      bytesShown++;
    }
  }

  private void takeBytes(int b) {
    long r;
    do {
      r = Linux.recv(b, SINK.address(), SINK_BYTES, Socket.MSG_DONTWAIT);
      // A message out of band cuts a read short, and one that was received leaves an empty one.
    } while (r > 0 && (everUrgent || r < bytesShown));
    bytesShown = 0;
  }

  /** Has end B meet a full buffer: only who has met one is sent a signal of room. */
  private static void fill(int b) {
    int flags = Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL;
    for (int i = 0; i < MAX_FILLERS; i++) {
      if (Linux.send(b, FILLER.address(), FILLER_BYTES, flags) < 0) {
        return;
      }
    }
  }

  private void drainEndA() {
    while (Linux.recv(endA, SINK.address(), SINK_BYTES, Socket.MSG_DONTWAIT) > 0) {}
  }

  /**
   * Whether the process last seen to hold end B lends it. One that is about to end does not, though
   * its descriptors are listed until they are closed.
   */
  synchronized boolean isLent() {
    int b = borrow();
    if (b < 0) {
      return false;
    }
    Linux.close(b);
    return true;
  }

  /** A copy of end B, which the caller closes under the lock, or {@code -errno}. */
  private int borrow() {
    long h = holder;
    if (h == NOBODY) {
      return -Errno.ESRCH;
    }
    int fd = (int) Linux.pidfdGetfd((int) (h >>> 32), (int) h);
    if (fd >= 0 && inodeOf(fd) != inode) {
      Linux.close(fd);
      return -Errno.EBADF;
    }
    return fd;
  }
}
