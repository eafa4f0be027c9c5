// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.channel.CallCarrier;
import dev.outboard.channel.CallSource;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.DeviceCounts;
import dev.outboard.channel.DeviceSlot;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.SlotLayout;
import dev.outboard.channel.Welcome;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.SealedMemory;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.PathSet;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * One program tree on the device: a link, a table of descriptors, and a shadow thread for each
 * thread of the program that makes calls.
 *
 * <p>The session's own thread reads frames and never waits for the kernel. A second one, the root,
 * owns the first task, whose descriptors all others share, and sends the edges of watched handles.
 * When the link ends, for whatever reason, everything that the session has is taken back, in this
 * order: the shadow threads and the carrier's task (interrupted until they are out), the handles,
 * the root's task, the window over the shared memory, the link.
 */
final class Session implements Runnable {
  private static final int HANDSHAKE_MILLIS = 10_000;

  /** Of so many processes is the name known, the latest. */
  private static final int MAX_NAMES = 256;

  /** How long to wait for threads that do not come out of the kernel, before they are given up. */
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(10);

  /** How long what was sent and found no room is tried after the program's end. */
  private static final long DELIVERY_NANOS = TimeUnit.SECONDS.toNanos(60);

  private final DeviceServer server;
  private final Kernel kernel;
  private final FrameStream stream;
  private final Handles handles;
  private final Readiness readiness;
  private final Rests rests;
  private final Activity activity = new Activity();
  private final long began = System.nanoTime();
  private final long id;
  private final Lookers lookers;
  private final String name;
  private final Consumer<String> onEnd;
  private final @Nullable CallCarrier carrier;
  private final SendingTask sending;
  private final CountDownLatch rooted = new CountDownLatch(1);

  // Guarded by this.
  private final Map<Integer, String> names = new LinkedHashMap<>();
  private final BitSet taken = new BitSet();
  private @Nullable ShadowThread[] shadows = new ShadowThread[0];
  private int shadowCount;
  private long pastCalls;
  private long pastInterrupts;

  private volatile String client = "";
  private boolean admitted;
  private int memfd = -1;
  private Kernel.@Nullable Window window;
  private int slots;
  private @Nullable Thread root;
  private volatile int rootTid;
  private volatile boolean rootEnding;

  /** Whether there is a control group with its number. */
  private volatile boolean grouped;

  /**
   * @param stream a connected link; owned by the session from here on
   * @param id its number, for people
   * @param onEnd told why it has ended, last of all
   * @param carrier who brings its calls, if that is not shared memory
   */
  Session(
      DeviceServer server,
      FrameStream stream,
      long id,
      Consumer<String> onEnd,
      @Nullable CallCarrier carrier) {
    this(server, stream, id, onEnd, carrier, Rests::start);
  }

  /**
   * @param sender starts what sends what found no room
   */
  Session(
      DeviceServer server,
      FrameStream stream,
      long id,
      Consumer<String> onEnd,
      @Nullable CallCarrier carrier,
      Function<Runnable, Thread> sender) {
    this.server = server;
    this.kernel = server.kernel();
    this.stream = stream;
    this.id = id;
    this.name = "session-" + id;
    this.onEnd = onEnd;
    this.carrier = carrier;
    this.handles = new Handles(server.limits().handles(), server.limits().handleNumbers());
    this.readiness = new Readiness(kernel, handles, server.ahead()::withdraw);
    this.lookers = new Lookers(readiness::anyPrompt);
    this.rests = new Rests(this, kernel, handles, readiness, sender);
    this.sending = new SendingTask(this);
  }

  /** Its number, for people. */
  long id() {
    return id;
  }

  Kernel kernel() {
    return kernel;
  }

  Handles handles() {
    return handles;
  }

  /** What the program may name by a path. */
  PathSet paths() {
    return server.paths();
  }

  /** Whether the program may call {@code bpf(2)}. */
  boolean bpf() {
    return server.bpf();
  }

  /** What programs of all sessions send without waiting. */
  SendsAhead ahead() {
    return server.ahead();
  }

  /** What this one's have sent so and found no room. */
  Rests rests() {
    return rests;
  }

  Lookers lookers() {
    return lookers;
  }

  Readiness readiness() {
    return readiness;
  }

  Activity activity() {
    return activity;
  }

  /** The task whose descriptors all tasks of the session share. */
  int rootTid() {
    return rootTid;
  }

  /** Sends a frame to the host; if the link is gone, so will be the session, and no one minds. */
  void send(Frame frame) {
    stream.send(frame);
  }

  /** Tells the host of edges. */
  void tell(Frame.Ready edges) {
    if (carrier == null) {
      send(edges);
    } else {
      carrier.tell(edges);
    }
  }

  void log(String what, Throwable cause) {
    server.log(name + ": " + what + ": " + cause);
  }

  /** Ends the session soon: its link fails. Any thread. */
  void stop() {
    stream.stop();
  }

  /** All that it had is taken back. */
  void tellEnd(String why) {
    onEnd.accept(why);
  }

  /** The server has counted this session, on this session's thread. */
  void admitted() {
    admitted = true;
  }

  @Override
  public String toString() {
    return name;
  }

  @Override
  public void run() {
    String why = "the device fails";
    FlightEvents.SessionEvent event = FlightEvents.beginSession();
    try {
      why = serve();
    } catch (RuntimeException e) {
      log("session fails", e);
    } finally {
      if (carrier != null) {
        carrier.ending();
      }
      stream.sendLast(new Frame.Bye(why));
      stream.stop();
      end();
      stream.close();
      if (carrier != null) {
        carrier.ended();
      }
      if (event != null) {
        event.number = id;
        event.client = client;
        event.calls = activity.calls();
        event.why = why;
        event.commit();
      }
      server.ended(this, admitted, why);
    }
  }

  /** Handshake and frames; returns why the session ends. */
  private String serve() {
    Decoded first = stream.receive(HANDSHAKE_MILLIS);
    if (!(first instanceof Decoded.Received(Frame.Hello hello))) {
      return switch (first) {
        case Decoded.Received(Frame f) -> "the first frame is not a greeting";
        case Decoded.Malformed(String what) -> what;
        case Decoded.Ended(String what) -> what;
      };
    }
    String refusal = server.admit(this);
    if (refusal == null) {
      refusal = open(hello);
    }
    if (refusal != null) {
      return refusal;
    }
    while (true) {
      String why =
          switch (stream.receive(-1)) {
            case Decoded.Received(Frame frame) -> handle(frame);
            case Decoded.Malformed(String what) -> what;
            case Decoded.Ended(String what) -> what;
          };
      if (why != null) {
        return why;
      }
    }
  }

  /** Sets the session up and welcomes the host; null, or why that is not possible. */
  private @Nullable String open(Frame.Hello hello) {
    int version = Math.min(hello.highestVersion(), FrameCodec.HIGHEST_VERSION);
    if (version < hello.lowestVersion() || version < FrameCodec.LOWEST_VERSION) {
      return "this device speaks versions "
          + FrameCodec.LOWEST_VERSION
          + " to "
          + FrameCodec.HIGHEST_VERSION
          + " of the protocol, the host "
          + hello.lowestVersion()
          + " to "
          + hello.highestVersion();
    }
    if (hello.slots() < 1) {
      return "a session needs at least one call slot";
    }
    client = cut(hello.client(), ServiceFrame.SessionStatus.MAX_CLIENT);
    slots = Math.min(hello.slots(), server.limits().slots());
    long bytes = SlotLayout.fileBytes(slots);
    memfd = newMemory(bytes);
    window = memfd < 0 ? null : kernel.map(memfd, bytes);
    if (window == null) {
      return "the device has no memory for " + slots + " call slots";
    }
    synchronized (this) {
      shadows = new ShadowThread[slots];
    }
    root = Thread.ofPlatform().name(name + "-root").daemon(true).start(this::runRoot);
    Uninterrupted.await(rooted);
    if (rootTid <= 0) {
      return "the device's kernel gives no task: " + Errno.name(-rootTid);
    }
    if (carrier != null) {
      carrier.begin(sending);
    }
    stream.send(
        new Welcome(
            version,
            slots,
            SlotLayout.BYTES,
            kernel.kind(),
            kernel.release(),
            kernel.system(),
            server.resolvConf(),
            server.devicePaths(),
            server.notices(),
            server.ownNames()),
        memfd);
    server.log(name + ": " + hello.client() + ", " + slots + " call slots");
    return null;
  }

  private static int newMemory(long bytes) {
    return SealedMemory.create("outboard-slots", bytes);
  }

  /** The call of a shadow thread is to be interrupted until it is out. */
  void repeatInterruption(ShadowThread shadow, int sequence) {
    server.nudger().repeat(shadow, sequence);
  }

  /** Null, or why the session ends. */
  private @Nullable String handle(Frame frame) {
    int stray = stream.takeDescriptor();
    if (stray >= 0) {
      Linux.close(stray);
      return "a descriptor came with a frame that has none";
    }
    switch (frame) {
      case Frame.Attach f -> attach(f);
      case Frame.Detach f -> {
        ShadowThread shadow = shadow(f.slot());
        if (shadow != null) {
          server.nudger().end(shadow);
        }
      }
      case Frame.Interrupt f -> {
        ShadowThread shadow = shadow(f.slot());
        if (shadow != null && f.sequence() > 0) {
          server.nudger().interrupt(shadow, f.sequence());
        }
      }
      case Frame.CountsRequest f -> send(new Frame.Counts(f.id(), counts()));
      case Frame.Ping f -> send(new Frame.Pong(f.id()));
      case Frame.Pong f -> {}
      case Frame.Bye(String why) -> {
        server.parting();
        return "the host says: " + why;
      }
      case Frame.Unknown f -> {}
      case ServiceFrame.Named f -> name(f);
      case ServiceFrame f -> {
        return f.getClass().getSimpleName() + " is a frame that no session carries";
      }
      case Frame.Ahead f -> {
        return "bytes that were sent ahead, which are for the relay of a stream";
      }
      case Frame.Look f -> {
        return "a request to look ahead, which is for the relay of a stream";
      }
      case Frame.Taken f -> {
        return "bytes that were taken ahead, which is for the relay of a stream";
      }
      case Frame.Looked f -> {
        return wrongWay(f);
      }
      case Frame.Done f -> {
        return wrongWay(f);
      }
      case Frame.Hello f -> {
        return "a second greeting";
      }
      case Welcome f -> {
        return wrongWay(f);
      }
      case Frame.Attached f -> {
        return wrongWay(f);
      }
      case Frame.Detached f -> {
        return wrongWay(f);
      }
      case Frame.Ready f -> {
        return wrongWay(f);
      }
      case Frame.Notice f -> {
        return wrongWay(f);
      }
      case Frame.Counts f -> {
        return wrongWay(f);
      }
    }
    return null;
  }

  private synchronized void name(ServiceFrame.Named f) {
    if (names.size() >= MAX_NAMES) {
      names.remove(names.keySet().iterator().next());
    }
    names.put(f.pid(), cut(f.name(), ServiceFrame.Program.MAX_NAME));
  }

  /** Of what a host calls something so much is kept that all of it fits into one answer. */
  private static String cut(String name, int most) {
    return name.length() <= most ? name : name.substring(0, most);
  }

  private static String wrongWay(Frame frame) {
    return frame.getClass().getSimpleName() + " is a frame that only a device sends";
  }

  private void attach(Frame.Attach attach) {
    int error = begin(attach);
    if (error < 0) {
      send(new Frame.Attached(attach.id(), error));
    }
  }

  /** Gives out a slot; its thread says so. 0 or {@code -errno}. */
  private int begin(Frame.Attach attach) {
    ShadowThread shadow;
    synchronized (this) {
      // The lowest free one: its pages have been touched before.
      int index = taken.nextClearBit(0);
      Kernel.Window memory = window;
      if (index >= slots || memory == null || !server.takeThread()) {
        return -Errno.EAGAIN;
      }
      ShadowThread like =
          attach.likeSlot() >= 0 && attach.likeSlot() < slots ? shadows[attach.likeSlot()] : null;
      int likeTid = like == null ? 0 : like.tid();
      MemorySegment place = memory.memory().asSlice(index * SlotLayout.BYTES, SlotLayout.BYTES);
      SlotLoan loan = null;
      if (attach.lent()) {
        int file = newMemory(SlotLayout.BYTES);
        loan = file < 0 ? null : SlotLoan.begin(stream, place, file, memfd, index);
        if (loan == null) {
          server.giveThread();
          return -Errno.ENOMEM;
        }
      }
      DeviceSlot slot = new DeviceSlot(place, loan != null);
      slot.reset();
      CallSource source = carrier == null ? null : carrier.open(index, slot.data());
      shadow =
          new ShadowThread(
              this, slot, index, likeTid > 0 ? likeTid : rootTid, attach, loan, source);
      taken.set(index);
      shadows[index] = shadow;
      shadowCount++;
    }
    shadow.start();
    return 0;
  }

  private synchronized @Nullable ShadowThread shadow(int slot) {
    return slot >= 0 && slot < shadows.length ? shadows[slot] : null;
  }

  /**
   * A shadow thread is on its way out: its task is gone. Called by it, last of all.
   *
   * @param announced whether the host was told that it has the slot
   */
  void ended(ShadowThread shadow, boolean announced) {
    SlotLoan loan = shadow.loan();
    boolean whole = loan == null || loan.end();
    if (announced) {
      // Before anybody is given the slot again: the host hears of both in this order.
      send(new Frame.Detached(shadow.index()));
    }
    synchronized (this) {
      shadows[shadow.index()] = null;
      // A place that is not the session's memory again is not given out any more.
      taken.set(shadow.index(), !whole);
      shadowCount--;
      pastCalls += shadow.calls();
      pastInterrupts += shadow.interrupts();
      notifyAll();
    }
    server.giveThread();
  }

  private DeviceCounts counts() {
    int attached;
    long calls;
    long interrupts;
    synchronized (this) {
      attached = shadowCount;
      calls = pastCalls + sending.calls();
      interrupts = pastInterrupts;
      for (ShadowThread shadow : shadows) {
        if (shadow != null) {
          calls += shadow.calls();
          interrupts += shadow.interrupts();
        }
      }
    }
    return new DeviceCounts(
        server.sessions(),
        attached,
        handles.count(),
        readiness.watched(),
        attached + (sending.isInside() ? 2 : 1),
        server.processThreads(),
        server.processDescriptors(),
        calls,
        interrupts);
  }

  /** What it does, for whoever asks. */
  ServiceFrame.SessionStatus status() {
    Map<Integer, ServiceFrame.Program> programs = new TreeMap<>();
    int threads;
    synchronized (this) {
      threads = shadowCount;
      for (ShadowThread shadow : shadows) {
        if (shadow != null && programs.size() < ServiceFrame.SessionStatus.MAX_PROGRAMS) {
          programs.putIfAbsent(
              shadow.pid(),
              new ServiceFrame.Program(
                  shadow.pid(), shadow.uid(), names.getOrDefault(shadow.pid(), "")));
        }
      }
    }
    MemoryGroups groups = grouped ? kernel.memoryGroups() : null;
    return new ServiceFrame.SessionStatus(
        id,
        client,
        TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began),
        activity.calls(),
        activity.percentile(50),
        activity.percentile(99),
        activity.bytesIn(),
        activity.bytesOut(),
        // If it ends meanwhile, nothing is there to be counted.
        groups == null ? 0 : Math.max(0, groups.used(id)),
        groups == null ? 0 : groups.limitBytes(),
        threads,
        handles.count(),
        List.copyOf(programs.values()));
  }

  /** The root: the session's first task, which watches its handles. */
  private void runRoot() {
    MemorySegment scratch = kernel.allocate();
    MemoryGroups groups = kernel.memoryGroups();
    int tid = scratch == null ? -Errno.ENOMEM : kernel.enterTask(0, true);
    try {
      if (tid > 0 && scratch != null) {
        // First of all: what the task has from here on is charged to its group.
        long r = groups == null ? 0 : groups.enter(id, tid);
        grouped = groups != null && r >= 0;
        if (r >= 0) {
          r = limitDescriptors(scratch);
        }
        if (r >= 0) {
          r = readiness.open();
        }
        rootTid = r < 0 ? (int) r : tid;
        rooted.countDown();
        if (r >= 0) {
          watch(scratch);
        }
        closeHandles();
        readiness.close();
      } else {
        rootTid = tid;
      }
    } catch (RuntimeException e) {
      log("root fails", e);
      stop();
    } finally {
      rooted.countDown();
      if (tid > 0) {
        kernel.leaveTask();
      }
      if (scratch != null) {
        kernel.free(scratch);
      }
    }
  }

  /** Allows as many descriptors as {@link Handles} does, plus the session's own. */
  private long limitDescriptors(MemorySegment scratch) {
    if (!kernel.ownsDescriptorTable()) {
      return 0;
    }
    scratch.set(ValueLayout.JAVA_LONG, 0, handles.numbers());
    scratch.set(ValueLayout.JAVA_LONG, 8, handles.numbers());
    return kernel.syscall(
        Canonical.PRLIMIT64, 0, Processes.RLIMIT_NOFILE, scratch.address(), 0, 0, 0);
  }

  private void watch(MemorySegment scratch) {
    List<Frame.Sample> edges = new ArrayList<>();
    while (!rootEnding) {
      if (readiness.awaitEdges(scratch)) {
        lookers.rest();
        boolean news = readiness.edges(scratch, edges);
        for (int from = 0; from < edges.size(); from += FrameCodec.MAX_SAMPLES) {
          int to = Math.min(edges.size(), from + FrameCodec.MAX_SAMPLES);
          tell(new Frame.Ready(edges.subList(from, to)));
        }
        if (news) {
          lookers.told();
        } else if (!edges.isEmpty() && !readiness.anyPrompt()) {
          LockSupport.parkNanos(Readiness.REST_NANOS);
        }
        edges.clear();
      }
    }
  }

  private void closeHandles() {
    for (int fd = 0; handles.count() > 0 && fd < handles.numbers(); fd++) {
      Handles.Handle handle = handles.enter(fd);
      if (handle != null) {
        handles.close(handle);
        readiness.closeIfLast(handle);
      }
    }
  }

  /** Takes back everything. Runs on the session's thread, after its last frame. */
  private void end() {
    List<ShadowThread> left = new ArrayList<>();
    synchronized (this) {
      for (ShadowThread shadow : shadows) {
        if (shadow != null) {
          left.add(shadow);
        }
      }
    }
    for (ShadowThread shadow : left) {
      server.nudger().end(shadow);
    }
    boolean clean = awaitShadows();
    clean &= sending.end(PATIENCE_NANOS);
    rests.finish(DELIVERY_NANOS);
    Thread watcher = root;
    if (watcher != null) {
      rootEnding = true;
      long deadline = System.nanoTime() + PATIENCE_NANOS;
      while (watcher.isAlive() && System.nanoTime() < deadline) {
        if (rootTid > 0) {
          kernel.interrupt(rootTid);
        }
        Threads.join(watcher, 2);
      }
      clean &= !watcher.isAlive();
    }
    removeGroup();
    Kernel.Window memory = window;
    if (memory != null && clean) {
      memory.close();
    } else if (!clean) {
      // A task that does not come out may still use the memory: better a leak than its reuse.
      server.log(name + ": threads do not come out of the kernel; their memory stays mapped");
    }
    if (memfd >= 0 && clean) {
      Linux.close(memfd);
    }
  }

  /** What a task uses from here on is the session's; 0 or {@code -errno}. */
  long joinGroup(int tid) {
    MemoryGroups groups = kernel.memoryGroups();
    return groups == null || !grouped ? 0 : groups.join(id, tid);
  }

  private void removeGroup() {
    MemoryGroups groups = kernel.memoryGroups();
    if (groups == null || !grouped) {
      return;
    }
    grouped = false;
    long r = groups.remove(id);
    if (r < 0) {
      server.log(name + ": its control group stays: " + Errno.name((int) -r));
    }
  }

  private synchronized boolean awaitShadows() {
    return Uninterrupted.waitUntil(this, PATIENCE_NANOS, () -> shadowCount == 0);
  }
}
