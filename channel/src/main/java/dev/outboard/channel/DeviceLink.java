// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * The host's side of the link to a device: one session.
 *
 * <p>Frames go over a Unix socket, read by a daemon platform thread of this object; calls go
 * through {@link CallSlot}s in memory shared with the device. All methods may be called by any
 * platform thread, except that the listener, which runs on the reader thread, must not call those
 * that wait for an answer ({@link #attach}, {@link #counts}).
 *
 * <p>When the device is gone (its end of the socket closes, or what comes is not a frame), all
 * pending calls end with {@code -ENETDOWN}, all later ones too, and the listener is told once.
 */
public final class DeviceLink implements AutoCloseable {
  private static final int UNIX_PATH_BYTES = 108;

  /** Whether a near end tells what the device says by itself; off for measurements. */
  private static final boolean TOLD_AT_ONCE =
      Boolean.parseBoolean(System.getProperty("outboard.link.tells", "true"));

  private final FrameStream stream;
  private final @Nullable NearEnd near;
  private final LinkListener listener;
  private final LinkOptions options;
  private final Welcome welcome;
  private final MemorySegment timeouts;
  private final MemorySegment memory;
  private final AtomicReferenceArray<@Nullable CallSlot> slots;
  private final Set<LentSlot> lent = ConcurrentHashMap.newKeySet();
  private final Map<Long, CompletableFuture<Integer>> lending = new ConcurrentHashMap<>();
  private final Map<Long, CompletableFuture<Frame>> waiting = new ConcurrentHashMap<>();
  private final AtomicLong ids = new AtomicLong();
  private final AtomicBoolean told = new AtomicBoolean();
  private final AtomicBoolean closing = new AtomicBoolean();
  private final Thread reader;
  private volatile boolean lost;

  private DeviceLink(
      FrameStream stream,
      LinkListener listener,
      LinkOptions options,
      Welcome welcome,
      MemorySegment memory,
      @Nullable NearEnd near) {
    this.stream = stream;
    this.near = near;
    this.listener = listener;
    this.options = options;
    this.welcome = welcome;
    // The slots stay mapped until no thread can look into one: until all are garbage.
    Arena arena = Arena.ofAuto();
    this.memory = SlotMemory.owned(memory, arena);
    this.timeouts = arena.allocate((long) welcome.slots() * CallSlot.TIMEOUT_BYTES, 8);
    this.slots = new AtomicReferenceArray<>(welcome.slots());
    this.reader = Thread.ofPlatform().name("link-reader").daemon(true).unstarted(this::readFrames);
  }

  /**
   * Connects to a device that listens on a Unix socket.
   *
   * @throws LinkException if nothing listens there or the handshake fails
   */
  public static DeviceLink connect(Path unixSocket, LinkListener listener, LinkOptions options)
      throws LinkException {
    return overDescriptor(connect(unixSocket), listener, options);
  }

  /** A connection to a Unix socket, the caller's. */
  static int connect(Path unixSocket) throws LinkException {
    byte[] path = unixSocket.toString().getBytes(StandardCharsets.UTF_8);
    if (path.length >= UNIX_PATH_BYTES) {
      throw new LinkException("The socket path " + unixSocket + " is longer than 107 bytes.");
    }
    long fd = Linux.socket(Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    if (fd < 0) {
      throw new LinkException("No socket for the device: " + Errno.name((int) -fd) + ".");
    }
    try (Arena temporary = Arena.ofConfined()) {
      MemorySegment address = temporary.allocate(2 + UNIX_PATH_BYTES, 8);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_UNIX);
      MemorySegment.copy(path, 0, address, ValueLayout.JAVA_BYTE, 2, path.length);
      long r;
      do {
        r = Linux.connect((int) fd, address.address(), 2 + path.length + 1);
      } while (r == -Errno.EINTR);
      if (r < 0) {
        Linux.close((int) fd);
        throw new LinkException(
            switch ((int) -r) {
              case Errno.ENOENT ->
                  "There is no device at "
                      + unixSocket
                      + "; start one with: outboard device"
                      + " --listen unix:"
                      + unixSocket;
              case Errno.ECONNREFUSED ->
                  "No device listens at "
                      + unixSocket
                      + " any more; start one with: outboard"
                      + " device --listen unix:"
                      + unixSocket;
              case Errno.EACCES, Errno.EPERM ->
                  "You may not connect to " + unixSocket + ": it belongs to another user.";
              default -> "No connection to " + unixSocket + ": " + Errno.name((int) -r) + ".";
            });
      }
    }
    return (int) fd;
  }

  /**
   * Opens a session over a connected Unix stream socket, which this method owns from here on, also
   * if it throws.
   *
   * @throws LinkException if the handshake fails or the device refuses
   */
  public static DeviceLink overDescriptor(
      int connectedFd, LinkListener listener, LinkOptions options) throws LinkException {
    return overDescriptor(connectedFd, listener, options, null);
  }

  /**
   * The same, where the other end may be in this process.
   *
   * @param near the other end; null if it is not
   */
  public static DeviceLink overDescriptor(
      int connectedFd, LinkListener listener, LinkOptions options, @Nullable NearEnd near)
      throws LinkException {
    FrameStream stream = new FrameStream(connectedFd);
    DeviceLink link = null;
    try {
      link = handshake(stream, listener, options, near);
    } finally {
      if (link == null) {
        stream.close();
      }
    }
    for (String notice : link.welcome.notices()) {
      listener.notice(notice);
    }
    if (near != null && TOLD_AT_ONCE) {
      near.tell(link::heard);
    }
    link.reader.start();
    return link;
  }

  private static DeviceLink handshake(
      FrameStream stream, LinkListener listener, LinkOptions options, @Nullable NearEnd near)
      throws LinkException {
    String share = options.share();
    if (share != null) {
      stream.send(new ServiceFrame.Join(share));
    }
    // A device that refuses need not wait for all of this, and then the link is closed already:
    // what it has said is still there.
    stream.send(
        new Frame.Hello(
            FrameCodec.LOWEST_VERSION,
            FrameCodec.HIGHEST_VERSION,
            options.slots(),
            options.client()));
    Welcome welcome =
        switch (stream.receive((int) options.greeting().toMillis())) {
          case Decoded.Received(Welcome w) -> w;
          case Decoded.Received(Frame.Bye(String why)) ->
              throw new LinkException("The device refuses: " + why);
          case Decoded.Received(Frame other) ->
              throw new LinkException(
                  "The device answers the greeting with " + other.getClass().getSimpleName() + ".");
          case Decoded.Malformed(String why) ->
              throw new LinkException("The device does not speak this protocol: " + why + ".");
          case Decoded.Ended(String why) ->
              throw new LinkException("The device did not answer the greeting: " + why + ".");
        };
    if (welcome.version() < FrameCodec.LOWEST_VERSION
        || welcome.version() > FrameCodec.HIGHEST_VERSION) {
      throw new LinkException(
          "The device speaks version "
              + welcome.version()
              + " of the protocol, which this side"
              + " does not.");
    }
    int descriptor = stream.takeDescriptor();
    if (descriptor < 0) {
      throw new LinkException("The device sent no memory for its call slots.");
    }
    try {
      return new DeviceLink(
          stream, listener, options, welcome, SlotMemory.map(welcome, descriptor), near);
    } finally {
      Linux.close(descriptor);
    }
  }

  /** What the device said of itself. */
  public Welcome welcome() {
    return welcome;
  }

  /** What has crossed the link so far. */
  public Traffic traffic() {
    return stream.traffic();
  }

  /** Whether the device is gone. */
  public boolean lost() {
    return lost;
  }

  /**
   * Gives a program thread a slot and, on the device, a shadow thread. Waits for the device.
   *
   * @param pid the thread's process, for the device's log
   * @param tid the thread, likewise
   * @param likeSlot the index of the slot of the thread that created it, or -1
   * @throws LinkException if the device has no more slots or is gone
   */
  public CallSlot attach(int pid, int tid, int likeSlot, Credentials credentials)
      throws LinkException {
    long id = ids.incrementAndGet();
    int index = askForSlot(id, new Frame.Attach(id, pid, tid, likeSlot, false, credentials));
    if (index >= welcome.slots() || slots.get(index) != null) {
      lose("the device gave out call slot " + index + ", which is not free");
      throw new LinkException("The device gave out a call slot that is not free.");
    }
    CallSlot slot =
        new CallSlot(
            index,
            memory.asSlice(index * SlotLayout.BYTES, SlotLayout.BYTES),
            timeouts.asSlice((long) index * CallSlot.TIMEOUT_BYTES, CallSlot.TIMEOUT_BYTES),
            stream.traffic(),
            near);
    slots.set(index, slot);
    if (lost) {
      // lose() may have looked at the table before this slot was in it.
      slot.lose();
    }
    return slot;
  }

  /** Says what a process of the program is called; nothing depends on it. */
  public void named(int pid, String name) {
    stream.send(new ServiceFrame.Named(pid, name));
  }

  private int askForSlot(long id, Frame.Attach request) throws LinkException {
    Frame answer = ask(id, request);
    if (!(answer instanceof Frame.Attached(long ignored, int index))) {
      throw new LinkException("The device answers a request to attach with something else.");
    }
    if (index < 0) {
      throw new LinkException(
          index == -Errno.EAGAIN
              ? "The device has no call slot left: more than "
                  + welcome.slots()
                  + " program threads."
              : "The device cannot serve one more thread: " + Errno.name(-index) + ".");
    }
    return index;
  }

  /**
   * Gets a slot for a process of the program to use by itself. Waits for the device.
   *
   * @param pid the process, for the device's log
   * @param likeSlot as for {@link #attach}
   * @throws LinkException if the device has no more slots or is gone
   */
  public LentSlot lend(int pid, int likeSlot, Credentials credentials) throws LinkException {
    long id = ids.incrementAndGet();
    CompletableFuture<Integer> file = new CompletableFuture<>();
    lending.put(id, file);
    LentSlot slot = null;
    try {
      int index = askForSlot(id, new Frame.Attach(id, pid, pid, likeSlot, true, credentials));
      // The reader has completed it before the answer, if a file came.
      slot = lentSlot(index, file.getNow(-1));
    } finally {
      lending.remove(id);
      if (slot == null && !file.complete(-1) && file.join() >= 0) {
        Linux.close(file.join());
      }
    }
    lent.add(slot);
    if (lost) {
      slot.lose(); // lose() may have gone through them before
    }
    return slot;
  }

  private LentSlot lentSlot(int index, int descriptor) throws LinkException {
    try {
      if (index >= welcome.slots() || descriptor < 0) {
        throw new LinkException("The device lends a call slot and sends no memory for it.");
      }
      return new LentSlot(
          index, SlotMemory.map(descriptor, SlotLayout.BYTES, SlotLayout.DATA), descriptor);
    } catch (LinkException e) {
      stream.send(new Frame.Detach(index));
      throw e;
    }
  }

  /** The process that had a slot is gone, or its memory is. */
  public void takeBack(LentSlot slot) {
    if (lent.remove(slot)) {
      slot.close();
      stream.send(new Frame.Detach(slot.index()));
    }
  }

  /** Whether the device is at the other end of a stream, and shares no memory with this machine. */
  public boolean isStream() {
    return near != null;
  }

  /** Whether the device takes what is sent ahead; only one at the other end of a stream can. */
  public boolean takesAhead() {
    return welcome.version() >= FrameCodec.AHEAD_VERSION;
  }

  /** Whether a process may put options into the ring of its slot, between what it sends. */
  public boolean takesOptionsInRings() {
    return welcome.version() >= FrameCodec.RING_OPTIONS_VERSION;
  }

  /**
   * Whether the device takes options and closes ahead, says with an open what the file is, and with
   * a sendfile what would come of the next.
   */
  public boolean takesCertain() {
    return near != null && welcome.version() >= FrameCodec.CERTAIN_VERSION;
  }

  /**
   * Whether programs are to find out names from the device's name servers alone, and not from
   * services of the host: the device says so, or is on another machine, whose names are others.
   */
  public boolean ownNames() {
    return welcome.ownNames() || (near != null && !welcome.resolvConf().isEmpty());
  }

  /**
   * Has bytes sent on a socket of the device and does not wait for what becomes of them: {@link
   * LinkListener#sent} says it later. The caller sees to the bounds of {@link Frame.Ahead}, where
   * they count as {@link Frame.Ahead#frames}.
   *
   * @param slot one that makes no calls
   * @param first nothing else that was sent by this slot is on its way
   * @param bytes one at least; the caller's again when this returns
   * @param now false if they may stay on this machine until the caller's {@link #pushAhead} or
   *     {@link #keepAhead}, of which one is to come before it waits for anything; what is sent by
   *     anybody takes them along
   * @return false if the device is gone
   */
  public boolean sendBytesAhead(
      CallSlot slot, boolean first, int handle, int flags, MemorySegment bytes, boolean now) {
    if (near != null) {
      return near.sendBytes(slot.index(), first, handle, flags, bytes, now);
    }
    long all = bytes.byteSize();
    boolean sent = true;
    for (long at = 0; at < all && sent; at += Frame.Ahead.MAX_BYTES) {
      MemorySegment part = bytes.asSlice(at, Math.min(all - at, Frame.Ahead.MAX_BYTES));
      sent = sendAhead(slot, first && at == 0, Frame.Ahead.Kind.BYTES, handle, flags, part, true);
    }
    return sent;
  }

  /** Has on its way what {@link #sendBytesAhead} may have left on this machine. */
  public void pushAhead() {
    if (near != null) {
      near.push();
    }
  }

  /** Leaves it there for a few milliseconds at most. */
  public void keepAhead() {
    if (near != null) {
      near.keep();
    }
  }

  /**
   * Has something done to a file of the device and does not wait for what becomes of it: {@link
   * LinkListener#sent} says it later. The caller sees to the bounds of {@link Frame.Ahead}.
   *
   * @param slot one that makes no calls
   * @param first nothing else that was sent by this slot is on its way
   * @param kind what is to be done; others than BYTES and END only if {@link #takesCertain}
   * @param bytes at most {@link Frame.Ahead#MAX_BYTES}; the caller's again when this returns
   * @param now false if it may stay on this machine for a few milliseconds; what is sent by anybody
   *     takes it along
   * @return false if the device is gone
   */
  public boolean sendAhead(
      CallSlot slot,
      boolean first,
      Frame.Ahead.Kind kind,
      int handle,
      int flags,
      MemorySegment bytes,
      boolean now) {
    Frame.Ahead frame =
        new Frame.Ahead(slot.index(), first, kind, handle, flags, bytes.asByteBuffer());
    return near == null ? stream.send(frame) : near.send(frame, 0, now);
  }

  /**
   * Closes a handle in the same way.
   *
   * @param slot by which nothing but handles is closed
   * @param after as {@link Call#flags}: which Look and Taken it must come after
   * @param now as of {@link #sendAhead}
   * @return false if the device is gone, or does not take closes ahead
   */
  public boolean closeAhead(CallSlot slot, boolean first, int handle, int after, boolean now) {
    Frame.Ahead frame =
        new Frame.Ahead(
            slot.index(), first, Frame.Ahead.Kind.CLOSE, handle, 0, ByteBuffer.allocate(0));
    return near != null && near.send(frame, after, now);
  }

  /** Whether the device can tell what comes for a socket before it is asked for. */
  public boolean looks() {
    return welcome.version() >= FrameCodec.LOOK_VERSION;
  }

  /**
   * Has the device tell what comes for a socket, by {@link LinkListener#looked}.
   *
   * @param slot one that makes no calls
   * @param generation above 0, not one of before; 0 to end it
   */
  public void look(CallSlot slot, int handle, int generation) {
    stream.send(new Frame.Look(slot.index(), handle, generation));
  }

  /** The program has received the next bytes of those that the device has told. */
  public void taken(CallSlot slot, int handle, int generation, int bytes) {
    stream.send(new Frame.Taken(slot.index(), handle, generation, bytes));
  }

  /**
   * Ends a slot's use: the device interrupts what its shadow thread does and ends it. The slot must
   * not be used after this.
   */
  public void detach(CallSlot slot) {
    if (slots.compareAndSet(slot.index(), slot, null)) {
      stream.send(new Frame.Detach(slot.index()));
    }
  }

  /**
   * Gives the slot's shadow thread new credentials; the next call has them. Called by the slot's
   * user while no call is pending; waits for the device.
   *
   * @return 0 or {@code -errno}
   */
  public long credentials(CallSlot slot, Credentials credentials) {
    Call call = slot.call();
    int bytes = credentials.encodedBytes();
    ByteBuffer to = call.data.asSlice(0, bytes).asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    credentials.encode(to);
    call.start(PseudoCall.CREDENTIALS);
    call.args[0] = bytes;
    call.toDevice = bytes;
    slot.submit();
    slot.await(Long.MAX_VALUE);
    return slot.result();
  }

  /**
   * Interrupts the slot's pending call, which then ends with {@code -ERESTARTSYS} or, if it was
   * nearly done, with its result. Does not wait.
   */
  public void interrupt(CallSlot slot) {
    interrupt(slot, slot.sequence());
  }

  /** Interrupts the call with this {@link CallSlot#sequence()} and no other. */
  public void interrupt(CallSlot slot, int sequence) {
    stream.send(new Frame.Interrupt(slot.index(), sequence));
  }

  /** What this session holds on the device. Waits for the device. */
  public DeviceCounts counts() throws LinkException {
    long id = ids.incrementAndGet();
    if (ask(id, new Frame.CountsRequest(id)) instanceof Frame.Counts(long ignored, var counts)) {
      return counts;
    }
    throw new LinkException("The device answers a request for counts with something else.");
  }

  /**
   * Tells the device that the session is over, while this side is still to take its part down:
   * calls from here on end with -ENETDOWN sooner or later, and the listener hears nothing any more.
   */
  public void bye() {
    // Of a link that was lost there is nobody left to be told.
    if (told.compareAndSet(false, true)) {
      stream.sendLast(new Frame.Bye("done"));
    }
  }

  /** Ends the session. Pending calls end with -ENETDOWN; the listener hears nothing any more. */
  @Override
  public void close() {
    if (!closing.compareAndSet(false, true)) {
      return;
    }
    bye();
    lose("closed");
    // The reader closes the socket on its way out; if it is this thread, that is still to come.
    if (!reader.equals(Thread.currentThread())) {
      Uninterrupted.join(reader);
    }
  }

  private Frame ask(long id, Frame request) throws LinkException {
    CompletableFuture<Frame> answer = new CompletableFuture<>();
    waiting.put(id, answer);
    try {
      // lose() fails all that wait after it has set the flag; so look at the flag after the put.
      if (lost || !stream.send(request)) {
        throw new LinkException("The device is gone.");
      }
      return answer.get(options.timeout().toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      if (!waiting.remove(id, answer)) {
        // The reader has just taken it for what has come: whoever asked for a slot must have that.
        return answer
            .handle((frame, failure) -> Optional.ofNullable(frame))
            .join()
            .orElseThrow(() -> new LinkException("The device is gone.", e));
      }
      throw new LinkException(
          "The device did not answer within " + options.timeout().toSeconds() + " s.", e);
    } catch (ExecutionException e) {
      throw new LinkException("The device is gone.", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LinkException("Interrupted while waiting for the device.", e);
    } finally {
      waiting.remove(id);
    }
  }

  private void answer(long id, Frame frame) {
    CompletableFuture<Frame> answer = waiting.remove(id);
    if (answer != null) {
      answer.complete(frame);
    }
  }

  private void readFrames() {
    String why = null;
    while (why == null) {
      why =
          switch (stream.receive(-1)) {
            case Decoded.Received(Frame frame) -> handle(frame);
            case Decoded.Malformed(String what) -> "it sent what is not a frame: " + what;
            case Decoded.Ended(String what) -> what;
          };
    }
    lose(why);
    stream.close();
  }

  /** What the near end tells; null, or why the link must end. */
  private @Nullable String heard(Frame frame) {
    return lost || closing.get() ? null : told(frame);
  }

  /** What is about sockets; null, or why the link must end. */
  private @Nullable String told(Frame frame) {
    switch (frame) {
      case Frame.Ready(var samples) -> {
        for (Frame.Sample s : samples) {
          listener.ready(s.handle(), s.mask(), s.stamp());
        }
      }
      case Frame.Done f -> listener.sent(f.slot(), f.bytes(), f.frames(), f.errno());
      case Frame.Looked f -> {
        return listener.looked(f);
      }
      default -> throw new IllegalArgumentException(frame + " is about no socket");
    }
    return null;
  }

  /** Null, or why the link must end. */
  private @Nullable String handle(Frame frame) {
    if (!(frame instanceof Frame.Attached) && lending.isEmpty()) {
      closeStray();
    }
    switch (frame) {
      case Frame.Ready _, Frame.Done _, Frame.Looked _ -> {
        return told(frame);
      }
      case Frame.Attached f -> attached(f);
      case Frame.Detached f -> {}
      case Frame.Counts f -> answer(f.id(), f);
      case Frame.Pong f -> answer(f.id(), f);
      case Frame.Ping f -> stream.send(new Frame.Pong(f.id()));
      case Frame.Notice(String line) -> listener.notice(line);
      case Frame.Bye(String why) -> {
        return why;
      }
      case Frame.Unknown f -> {}
      case ServiceFrame f -> {
        return "it sent a frame that no session carries";
      }
      case Frame.Hello f -> {
        return "it sent a frame that only a host sends";
      }
      case Frame.Ahead f -> {
        return "it sent a frame that only a host sends";
      }
      case Frame.Look f -> {
        return "it sent a frame that only a host sends";
      }
      case Frame.Taken f -> {
        return "it sent a frame that only a host sends";
      }
      case Frame.Attach f -> {
        return "it sent a frame that only a host sends";
      }
      case Frame.Detach f -> {
        return "it sent a frame that only a host sends";
      }
      case Frame.Interrupt f -> {
        return "it sent a frame that only a host sends";
      }
      case Frame.CountsRequest f -> {
        return "it sent a frame that only a host sends";
      }
      case Welcome f -> {
        return "it sent a second welcome";
      }
    }
    return null;
  }

  private void closeStray() {
    int stray = stream.takeDescriptor();
    if (stray >= 0) {
      Linux.close(stray);
    }
  }

  private void attached(Frame.Attached f) {
    CompletableFuture<Integer> file = lending.remove(f.id());
    if (file != null && f.slot() >= 0) {
      int descriptor = stream.takeDescriptor();
      if (!file.complete(descriptor) && descriptor >= 0) {
        Linux.close(descriptor); // whoever asked has given up
      }
    } else if (lending.isEmpty()) {
      closeStray();
    }
    CompletableFuture<Frame> answer = waiting.remove(f.id());
    if (answer != null) {
      answer.complete(f);
    } else if (f.slot() >= 0) {
      // Whoever asked has given up: give the slot back.
      stream.send(new Frame.Detach(f.slot()));
    }
  }

  /** Ends all that waits; tells the listener the first time. */
  private void lose(String why) {
    lost = true;
    for (int i = 0; i < slots.length(); i++) {
      CallSlot slot = slots.get(i);
      if (slot != null) {
        slot.lose();
      }
    }
    for (LentSlot slot : lent) {
      slot.lose();
    }
    for (CompletableFuture<Frame> answer : waiting.values()) {
      answer.completeExceptionally(new LinkException("The device is gone: " + why + "."));
    }
    stream.stop();
    if (told.compareAndSet(false, true)) {
      listener.lost(why);
    }
  }
}
