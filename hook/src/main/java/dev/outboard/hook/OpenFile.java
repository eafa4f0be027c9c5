// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.BpfObject;
import dev.outboard.syscalls.ResultKind;
import dev.outboard.syscalls.Row;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * What the hook remembers of an open file of the device besides its readiness.
 *
 * <p>It also keeps the handle from being closed while a call is on its way with it: natively a call
 * holds the open file, so that a thread blocked in {@code recv} is not affected by another's {@code
 * close}; and on the device a closed handle's number is given to the next file, to which a late
 * call must not go.
 */
final class OpenFile {
  /** What an open file is; decides which calls the placeholder may answer. */
  enum Kind {
    SOCKET,
    /** A regular file of an export: it can be mapped, and transfers are never short. */
    REGULAR,
    /** Anything else that was opened by a path: directories, pseudo files, character devices. */
    OTHER
  }

  private final int handle;
  private final int family;
  private final int type;
  private final int protocol;

  private final Kind kind;

  /** What it is of BPF. */
  private final BpfObject object;

  /** The path by which it was opened, absolute; null for a socket. */
  private final byte @Nullable [] path;

  /** It lies in an export, so that its descriptors may be those of regular files. */
  private final boolean exported;

  /** The flags that it was opened with; the status flags among them as they are now. */
  private volatile int flags;

  /** Whom to tell when the shim may not use this file any more; null if it may not. */
  private volatile @Nullable IntConsumer withdrawal;

  private int birth;

  /** The shim may send from it. */
  private boolean sendable;

  private final ArrayDeque<OpenFile> waiting = new ArrayDeque<>(1);

  private int uses;
  private boolean closeDue;

  /** Long transfers go in pieces; the end of a socket's stream raises SIGPIPE. */
  private final boolean stream;

  /** An error that ended a transfer after its first pieces; the next one gets it. */
  private int deferredError;

  /**
   * Bytes of a stream that were received but could not be written to the program's memory, or to a
   * pipe that somebody else had filled, in order. Natively they would still be in the socket, or in
   * the device's FIFO. Bounded: while there are any, receives take them and not the device's, so
   * there is at most one piece of each thread that was receiving.
   */
  private volatile byte @Nullable [] kept;

  /** Guarded by this. */
  private final List<Receiver> receiving = new ArrayList<>(0);

  /** SO_LINGER was set: a close may take as long as the peer likes. */
  private volatile boolean lingers;

  /** The last connect was to the loopback address, where a refusal needs an explanation. */
  private volatile boolean loopbackTarget;

  /** What was sent ahead; null until something is. */
  private @Nullable SendWindow window;

  /** Something was done to the socket after which its sends are to be waited for. */
  private volatile boolean aheadEnded;

  private volatile boolean streamEnded;

  /** What was looked at ahead; null until something is. */
  private volatile @Nullable ReceiveWindow lookedAt;

  /** Something was done to the socket after which its receives are the device's. */
  private volatile boolean lookEnded;

  /** What fills the ring that the program has asked for; null without one. */
  private @Nullable RingFeed ring;

  /** What the program has of it as an XDP socket; null if it is none. */
  private volatile @Nullable XdpSocket xdp;

  private final ZeroCopy zeroCopy = new ZeroCopy();

  OpenFile(int handle, int family, int type, int protocol, boolean stream) {
    this.handle = handle;
    this.family = family;
    this.type = type;
    this.protocol = protocol;
    this.stream = stream;
    this.object = BpfObject.NONE;
    this.kind = Kind.SOCKET;
    this.path = null;
    this.exported = false;
    this.flags = 0;
  }

  /** A file that was opened by its path. */
  OpenFile(int handle, Kind kind, byte[] path, boolean exported, int flags) {
    this.flags = flags;
    this.handle = handle;
    this.family = 0;
    this.type = 0;
    this.protocol = 0;
    this.stream = kind == Kind.REGULAR;
    this.kind = kind;
    this.object = BpfObject.NONE;
    this.path = path;
    this.exported = exported;
  }

  /** An object of BPF. */
  OpenFile(int handle, BpfObject object) {
    this.flags = Fcntl.O_RDWR;
    this.handle = handle;
    this.family = 0;
    this.type = 0;
    this.protocol = 0;
    this.stream = false;
    this.kind = Kind.OTHER;
    this.object = object;
    this.path = null;
    this.exported = false;
  }

  /** What it is of BPF. */
  BpfObject object() {
    return object;
  }

  /**
   * Lets programs send and receive on it without the hook, if it is a socket of a kind that can do
   * with that. Before anybody else knows of it.
   *
   * @param ownBirth what a call slot that is lent has to say of its handle
   * @param whenWithdrawn called with the handle, once, when that ends
   */
  void allowDirect(int ownBirth, IntConsumer whenWithdrawn) {
    boolean internet = family == Socket.AF_INET || family == Socket.AF_INET6;
    boolean known =
        switch (protocol) {
          case 0, Socket.IPPROTO_TCP, Socket.IPPROTO_UDP, Socket.IPPROTO_MPTCP -> true;
          default -> false;
        };
    if (internet && known && (type == Socket.SOCK_STREAM || type == Socket.SOCK_DGRAM)) {
      birth = ownBirth;
      withdrawal = whenWithdrawn;
    }
  }

  /** Whether the shim may send and receive on it. */
  boolean direct() {
    return withdrawal != null;
  }

  /**
   * Lets programs send from it without the hook, if it is a regular file that can be read. Before
   * anybody else knows of it.
   *
   * @param ownBirth as of {@link #allowDirect}
   */
  void allowSending(int ownBirth) {
    if (kind == Kind.REGULAR && readable()) {
      birth = ownBirth;
      sendable = true;
    }
  }

  /**
   * Whether programs may close it without a word, and its end on the device come a little later: it
   * can only be read, so that few calls can tell ({@link DeviceCalls}).
   */
  boolean quiet() {
    return ShimSwitches.ENDS && sendable && exported && !writable();
  }

  /** Whether the shim may send from it to a socket. */
  boolean sendable() {
    return sendable;
  }

  int birth() {
    return birth;
  }

  /**
   * From now on its calls come to the hook, which knows something of it that the device does not.
   */
  void endDirect() {
    IntConsumer w = withdrawal;
    withdrawal = null;
    if (w != null) {
      w.accept(handle);
    }
  }

  Kind kind() {
    return kind;
  }

  byte @Nullable [] path() {
    return path;
  }

  boolean exported() {
    return exported;
  }

  /** How a file that was opened by its path may be accessed: O_RDONLY, O_WRONLY or O_RDWR. */
  int accessMode() {
    return flags & Fcntl.O_ACCMODE;
  }

  boolean readable() {
    return kind == Kind.SOCKET || ((flags & Fcntl.O_PATH) == 0 && accessMode() != Fcntl.O_WRONLY);
  }

  boolean writable() {
    return kind == Kind.SOCKET || ((flags & Fcntl.O_PATH) == 0 && accessMode() != Fcntl.O_RDONLY);
  }

  /** Whether a call wants a socket and this is none, which a kernel finds before all else. */
  boolean isNoSocketFor(Row row) {
    return row.ofSocket() && kind != Kind.SOCKET;
  }

  /**
   * What a kernel finds wrong with this file before it looks at the caller's memory; 0 if nothing
   * is.
   */
  int refusal(Row row) {
    if (isNoSocketFor(row)) {
      return Errno.ENOTSOCK;
    }
    boolean open = row.result() != ResultKind.BYTES || (row.sends() ? writable() : readable());
    return open ? 0 : Errno.EBADF;
  }

  /**
   * Whether a write goes to the end of the file, wherever its position is; flags of a socket, too.
   */
  boolean appends() {
    return (flags & Fcntl.O_APPEND) != 0;
  }

  /** F_SETFL has set the status flags to these. */
  void status(long set) {
    int kept = Fcntl.O_APPEND | Fcntl.O_ASYNC;
    flags = (flags & ~kept) | ((int) set & kept);
  }

  /** O_ASYNC if a file that was opened by its path has it: the device's kernel does not know. */
  int async() {
    return flags & Fcntl.O_ASYNC;
  }

  /** FIOASYNC has set O_ASYNC, or taken it away. */
  void async(boolean is) {
    flags = is ? flags | Fcntl.O_ASYNC : flags & ~Fcntl.O_ASYNC;
  }

  int handle() {
    return handle;
  }

  int family() {
    return family;
  }

  int type() {
    return type;
  }

  int protocol() {
    return protocol;
  }

  boolean stream() {
    return stream;
  }

  /** What each call sends is a message of its own, or a part of one that MSG_MORE leaves open. */
  boolean messages() {
    return type == Socket.SOCK_SEQPACKET || protocol == Socket.IPPROTO_SCTP;
  }

  boolean lingers() {
    return lingers;
  }

  void setLingers() {
    lingers = true;
  }

  boolean loopbackTarget() {
    return loopbackTarget;
  }

  void loopbackTarget(boolean is) {
    loopbackTarget = is;
  }

  /**
   * Keeps a connection that was accepted on this file but for which the program had no descriptor
   * left: a kernel would not have taken it off the queue.
   */
  synchronized void putBack(OpenFile accepted) {
    waiting.add(accepted);
  }

  /** A connection that was put back, or null. */
  synchronized @Nullable OpenFile takeBack() {
    return waiting.poll();
  }

  synchronized boolean hasPutBack() {
    return !waiting.isEmpty();
  }

  void deferError(int errno) {
    endDirect();
    synchronized (this) {
      deferredError = errno;
    }
  }

  /**
   * Whether what programs send may be answered before the device has sent it: a stream of TCP to
   * which nothing has been done that makes that show.
   */
  boolean mayGoAhead() {
    return !aheadEnded && isTcp();
  }

  void endAhead() {
    aheadEnded = true;
  }

  /** Its stream ends behind what is on its way: natively it has ended by now. */
  void endStream() {
    streamEnded = true;
    endAhead();
  }

  boolean streamEnded() {
    return streamEnded;
  }

  /**
   * Whether its close need not be waited for, as long as whatever is called later comes later: that
   * of a socket, unless it may linger, and of a regular file.
   */
  boolean closesAhead() {
    return kind == Kind.REGULAR || (kind == Kind.SOCKET && !lingers);
  }

  /** Whether what comes may be looked at before programs ask for it. */
  boolean mayLook() {
    return !lookEnded && isTcp();
  }

  /** Whether it is a stream of TCP. */
  boolean isTcp() {
    return type == Socket.SOCK_STREAM
        && (family == Socket.AF_INET || family == Socket.AF_INET6)
        && (protocol == 0 || protocol == Socket.IPPROTO_TCP);
  }

  void endLook() {
    lookEnded = true;
  }

  /** Null if nothing was ever received from it over a link on which that is done. */
  @Nullable ReceiveWindow lookedAt() {
    return lookedAt;
  }

  /** The same, made now if need be. */
  synchronized ReceiveWindow look() {
    ReceiveWindow w = lookedAt;
    if (w == null) {
      w = new ReceiveWindow(this);
      lookedAt = w;
    }
    return w;
  }

  /** A connection has the options of the socket on which it was accepted. */
  void inherit(OpenFile listening) {
    aheadEnded = listening.aheadEnded;
    lookEnded = listening.lookEnded;
    if (listening.zeroCopy.on()) {
      endDirect();
      zeroCopy.set(true);
    }
  }

  /** What its sends with MSG_ZEROCOPY have come to. */
  ZeroCopy zeroCopy() {
    return zeroCopy;
  }

  /** Whether it is a socket of TCP or UDP, which are those that have SO_ZEROCOPY. */
  boolean mayZeroCopy() {
    boolean internet = family == Socket.AF_INET || family == Socket.AF_INET6;
    return isTcp()
        || (internet
            && type == Socket.SOCK_DGRAM
            && (protocol == 0 || protocol == Socket.IPPROTO_UDP));
  }

  synchronized SendWindow window(SendAhead of) {
    SendWindow w = window;
    if (w == null) {
      w = new SendWindow(this, of);
      window = w;
    }
    return w;
  }

  /** Null if nothing was ever sent ahead. */
  synchronized @Nullable SendWindow windowIfAny() {
    return window;
  }

  /** What is to be shown of it though the device does not say so. */
  synchronized int pinned() {
    return (kept != null ? Poll.POLLIN | Poll.POLLRDNORM : 0)
        | (deferredError != 0 && deferredError != Errno.EPIPE ? Poll.POLLERR : 0)
        | zeroCopy.pinned();
  }

  /**
   * The error put off, once, if it is one that the socket itself would have kept: not EPIPE, which
   * is only a sender's.
   */
  synchronized int takeSocketError() {
    return deferredError == Errno.EPIPE ? 0 : takeDeferredError();
  }

  /** The error put off, once; 0 if there is none. */
  synchronized int takeDeferredError() {
    int e = deferredError;
    deferredError = 0;
    return e;
  }

  /** Whether there are bytes for the next receive that the device has no more. */
  boolean keeps() {
    return kept != null;
  }

  /** How many. */
  int keptBytes() {
    byte[] k = kept;
    return k == null ? 0 : k.length;
  }

  /**
   * A call that receives from a stream.
   *
   * @param id of its notification
   */
  record Receiver(long id, ThreadEntry thread) {}

  synchronized void beginReceive(Receiver r) {
    receiving.add(r);
  }

  synchronized void endReceive(Receiver r) {
    receiving.remove(r);
    notifyAll();
  }

  /** Calls that receive now, of whatever process, but for this one. */
  synchronized List<Receiver> othersReceiving(Receiver r) {
    return receiving.size() == 1 && receiving.contains(r)
        ? List.of()
        : receiving.stream().filter(other -> !other.equals(r)).toList();
  }

  /**
   * Waits for a call's {@link #endReceive}.
   *
   * @return whether it came within so many nanoseconds
   */
  synchronized boolean awaitReceived(Receiver r, long nanos) {
    return Uninterrupted.waitUntil(this, nanos, () -> !receiving.contains(r));
  }

  /** Keeps bytes behind those that are kept already. */
  void keep(byte[] bytes) {
    endDirect();
    synchronized (this) {
      byte[] k = kept;
      kept = k == null ? bytes : join(k, bytes);
    }
  }

  /** Gives bytes back that were taken but could not be delivered either. */
  void keepAgain(byte[] bytes) {
    endDirect();
    synchronized (this) {
      byte[] k = kept;
      kept = k == null ? bytes : join(bytes, k);
    }
  }

  /** The first bytes that are kept, at most {@code most}, for good unless {@code peek}. */
  synchronized byte[] takeKept(long most, boolean peek) {
    byte[] k = kept;
    if (k == null) {
      return new byte[0];
    }
    int n = (int) Math.min(most, k.length);
    if (!peek) {
      kept = n == k.length ? null : Arrays.copyOfRange(k, n, k.length);
    }
    return Arrays.copyOf(k, n);
  }

  /** Forgets what is kept: the connection is no more. */
  synchronized void dropKept() {
    kept = null;
  }

  private static byte[] join(byte[] a, byte[] b) {
    byte[] all = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, all, a.length, b.length);
    return all;
  }

  synchronized @Nullable RingFeed ring() {
    return ring;
  }

  /** Keeps what fills the file's ring; false if the last descriptor is gone already. */
  synchronized boolean ring(RingFeed feed) {
    if (closeDue) {
      return false;
    }
    ring = feed;
    return true;
  }

  /** The file has no ring any more: what filled it is the caller's to stop. */
  synchronized @Nullable RingFeed takeRing() {
    RingFeed feed = ring;
    ring = null;
    return feed;
  }

  /** Null if it is not an XDP socket. */
  @Nullable XdpSocket xdp() {
    return xdp;
  }

  /** It is an XDP socket; before anybody else knows of it. */
  void xdp(XdpSocket socket) {
    xdp = socket;
  }

  /** Begins a call; false if the last descriptor is gone already. */
  synchronized boolean use() {
    if (closeDue) {
      return false;
    }
    uses++;
    return true;
  }

  /** Ends a call; true if the handle is to be closed now. */
  synchronized boolean unuse() {
    return --uses == 0 && closeDue;
  }

  /** The last descriptor is gone; true if the handle is to be closed now. */
  synchronized boolean abandon() {
    closeDue = true;
    return uses == 0;
  }
}
