// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.Frame;
import dev.outboard.channel.LinkListener;
import dev.outboard.posix.Processes;
import dev.outboard.posix.SeccompListener;
import dev.outboard.syscalls.CallPolicy;
import dev.outboard.syscalls.PathSet;
import dev.outboard.syscalls.Route;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SeccompProgram;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Runs a program whose network calls are executed by a device.
 *
 * <p>Use: make one, connect a {@link DeviceLink} with {@link #listener} as its listener, then
 * {@link #run}. An object serves one run, and a process one object: the hook becomes the subreaper
 * of its process tree.
 */
public final class Hook {
  private final HookOptions options;
  private final Messages messages;
  private volatile @Nullable Services services;
  private volatile @Nullable String lostBefore;

  private final LinkListener linkListener =
      new LinkListener() {
        @Override
        public void ready(int handle, int pollMask, long stamp) {
          Services s = services;
          if (s != null) {
            s.readiness().ready(handle, pollMask, stamp);
          }
        }

        @Override
        public void lost(String why) {
          messages.once(
              "lost",
              "The device is gone ("
                  + why
                  + "): network calls fail from now on, all others work as before.");
          lostBefore = why;
          Services s = services;
          if (s != null) {
            s.lost();
          }
        }

        @Override
        public void sent(int slot, int bytes, int frames, int errno) {
          Services s = services;
          SendAhead ahead = s == null ? null : s.ahead();
          if (ahead != null) {
            ahead.sent(slot, bytes, frames, errno);
          }
        }

        @Override
        public @Nullable String looked(Frame.Looked frame) {
          Services s = services;
          ReceiveAhead looks = s == null ? null : s.receiveAhead();
          return looks == null ? null : looks.looked(frame);
        }

        @Override
        public void notice(String line) {
          messages.say(line);
        }
      };

  public Hook(HookOptions options) {
    this.options = options;
    this.messages = new Messages(options.messages());
  }

  /** Whether JFR records in this process: then its end must be one that lets JFR write its file. */
  public static boolean recorded() {
    return FlightEvents.recorded();
  }

  /** What the link to the device is to report to. */
  public LinkListener listener() {
    return linkListener;
  }

  /**
   * Starts the program and serves it until no process of its tree is left.
   *
   * <p>{@link HookOptions#events} hears of the program's start and end; that the first process has
   * ended does not end this.
   *
   * @return the first process's status as a shell would show it: 0 to 255
   * @throws HookException if the program could not be started; the message is for the user, and
   *     says what to do
   */
  public int run(DeviceLink link) throws HookException {
    try (Services s = new Services(options, link, messages)) {
      services = s;
      if (lostBefore != null) {
        s.lost();
      }
      int status = s.run();
      if (options.statistics() == null) {
        // The device can do its part of the end meanwhile. Whoever counts still looks at it.
        link.bye();
      }
      return status;
    } finally {
      services = null;
    }
  }

  /** All parts of a hook, and who serves which call. */
  static final class Services implements AutoCloseable, ProcessTable.Listener {
    /** Descriptors that the hook needs for itself, and for processes and threads. */
    private static final int OWN_DESCRIPTORS = 512;

    private static final int SPARE_THREADS = 16;

    /** For how long the device may take to say whether it offers something. */
    private static final long PROBE_NANOS = 60_000_000_000L;

    /** For how long what programs had sent when they ended is still sent. */
    private static final Duration DELIVERY = Duration.ofSeconds(60);

    private final Messages messages;
    private final OpenFiles files = new OpenFiles();
    private final ProcessTable processes;
    private final SignalSampler sampler;
    private final DeviceCalls calls;
    private final Placeholders placeholders;
    private final Readiness readiness;
    private final Descriptors descriptors;
    private final PathCalls paths;
    private final Splices splices;
    private final boolean certain;
    private final @Nullable SendAhead ahead;
    private final @Nullable BpfCalls bpf;
    private final @Nullable ReceiveAhead looks;
    private final PacketRings rings;
    private final XdpSockets xdp;
    private final Handlers handlers = new Handlers();
    private final Executables executables;
    private final DeviceLink link;
    private final CallPolicy policy;
    private final @Nullable Shim shim;
    private final Pollers pollers;
    private final Guard guard;
    private final Notification.@Nullable Observer observer;
    private final @Nullable Runnable endOfRecording;
    private final Launcher launcher;
    private @Nullable Notifier notifier;

    Services(HookOptions options, DeviceLink link, Messages messages) throws HookException {
      this.messages = messages;
      this.link = link;
      this.processes = new ProcessTable(this);
      this.shim = options.shim() && options.policy().isNone() ? shim(processes, messages) : null;
      this.policy = options.policy();
      this.sampler = new SignalSampler(link);
      this.calls = new DeviceCalls(link, sampler, files, processes, messages);
      this.placeholders = new Placeholders(calls, capacity());
      this.readiness = new Readiness(placeholders, new HolderScan(processes));
      this.calls.connect(readiness, placeholders);
      this.certain = options.certain() && link.takesCertain();
      if (certain) {
        calls.askAttributes();
      }
      this.ahead =
          options.ahead() && link.takesAhead()
              ? new SendAhead(link, calls, readiness, certain)
              : null;
      if (ahead != null) {
        calls.connect(ahead);
      }
      this.looks =
          options.looks() && link.looks()
              ? new ReceiveAhead(link, calls, readiness, placeholders, files)
              : null;
      if (looks != null) {
        calls.connect(looks);
      }
      if (shim != null && link.isStream() && ShimSwitches.NEAR) {
        calls.connect(
            new NearSlots(
                link,
                calls,
                files,
                placeholders,
                ahead,
                ahead != null && certain && !options.bpf(),
                certain,
                ShimSwitches.TAKES ? looks : null,
                messages));
      }
      List<String> devicePaths = link.welcome().devicePaths();
      PathSet deviceSet = PathSet.of(devicePaths);
      this.descriptors = new Descriptors(placeholders, files);
      if (shim != null) {
        shim.connect(calls, deviceSet, descriptors);
      }
      Stats stats = new Stats(calls);
      this.executables = new Executables(messages, !devicePaths.isEmpty());
      Paths set = new Paths(deviceSet, descriptors, files, processes);
      this.paths = new PathCalls(this, set, stats, link.welcome().resolvConf(), options.executes());
      Statistics statistics = options.statistics();
      if (statistics != null) {
        statistics.countsOn(link.traffic());
        if (shim != null) {
          statistics.counts(shim);
        }
        if (ahead != null) {
          SendAhead a = ahead;
          statistics.countsAhead(a::sends);
          statistics.countsCertain(() -> a.certainCalls() + calls.known());
        }
        if (looks != null) {
          statistics.countsReceivedAhead(looks::receives);
        }
      }
      this.observer = observer(options);
      this.endOfRecording =
          shim != null && FlightEvents.recorded() ? FlightEvents.recordUntrapped(shim) : null;
      Guard g = Guard.start();
      this.guard = g;
      this.launcher =
          new Launcher(
              options,
              pid -> pid == g.pid() || options.ownChild().test(pid),
              executables::keepIdentity,
              filter(!devicePaths.isEmpty(), shim != null, options.policy())
                  .withBpf(options.bpf()));
      if (options.bpf() && !BpfCalls.offered(calls, PROBE_NANOS)) {
        throw new HookException(
            HookException.FAILED,
            "The device does not offer bpf(2): it was not started with --bpf=device.");
      }
      this.bpf = options.bpf() ? new BpfCalls(this) : null;
      if (bpf != null) {
        calls.connect(bpf);
      }
      this.rings = new PacketRings(this);
      this.xdp = new XdpSockets(this);
      FileCalls fileCalls = new FileCalls(this, stats, rings);
      fileCalls.register(handlers);
      paths.register(handlers);
      new SocketCalls(this, rings).register(handlers);
      new ProcessCalls(this).register(handlers);
      pollers = new Pollers(descriptors, calls, placeholders, readiness, rings, xdp, files);
      pollers.register(handlers);
      this.splices = new Splices(this);
      splices.register(handlers);
      new FileTransfers(this, splices, stats).register(handlers);
      new MessageBatches(this, fileCalls).register(handlers);
      handlers.registerRest(this::onBpf, Route.REQUEST);
      handlers.registerRest(fileCalls::any, Route.FD);
      handlers.registerRest(paths::any, Route.PATH);
      handlers.registerRest(this::onHost, Route.PROCESS);
      handlers.checkComplete();
    }

    private static Notification.@Nullable Observer observer(HookOptions options) {
      List<Notification.Observer> observers = new ArrayList<>();
      Statistics s = options.statistics();
      if (s != null) {
        observers.add((n, outcome, result) ->
            s.record(
                n.row(),
                outcome == Notification.Answer.HOST,
                result,
                n.deviceCalls(),
                n.deviceNanos(),
                n.spinsWon(),
                n.spinsLost()));
      }
      if (FlightEvents.recorded()) {
        observers.add(FlightEvents::answering);
      }
      Consumer<String> sink = options.trace();
      if (sink != null) {
        observers.add(new Tracer(sink));
      }
      if (observers.size() < 2) {
        return observers.isEmpty() ? null : observers.getFirst();
      }
      Notification.Observer[] each = observers.toArray(new Notification.Observer[0]);
      return (n, outcome, result) -> {
        for (Notification.Observer o : each) {
          o.answering(n, outcome, result);
        }
      };
    }

    /** Null without the memory for it: then every call traps, and works. */
    private static @Nullable Shim shim(ProcessTable processes, Messages messages) {
      try {
        return new Shim(processes, messages);
      } catch (IllegalStateException e) {
        messages.say("Calls on this machine's files will be slower: " + e.getMessage());
        return null;
      }
    }

    private static SeccompProgram.Options filter(boolean exports, boolean shim, CallPolicy policy) {
      return shim
          ? new SeccompProgram.Options(exports, ShimLayout.STUBS, ShimLayout.GATE)
          : new SeccompProgram.Options(exports, policy);
    }

    DeviceCalls calls() {
      return calls;
    }

    /** Null if {@code bpf(2)} is the host's. */
    @Nullable BpfCalls bpf() {
      return bpf;
    }

    /** There are none if {@link #bpf} is null. */
    XdpSockets xdp() {
      return xdp;
    }

    private void onBpf(Notification n) {
      if (bpf == null) {
        onHost(n); // a policy makes it trap
      } else {
        bpf.call(n);
      }
    }

    /** Null if every send is to be waited for. */
    @Nullable SendAhead ahead() {
      return ahead;
    }

    /** Whether what the device has told with a call answers the next one, if it does. */
    boolean certain() {
      return certain;
    }

    /** Null if every receive is to ask the device. */
    @Nullable ReceiveAhead receiveAhead() {
      return looks;
    }

    void lost() {
      if (looks != null) {
        looks.lost();
      }
      if (ahead != null) {
        ahead.lost();
      }
      readiness.lost();
    }

    /** Null if every call is to trap. */
    @Nullable Shim shim() {
      return shim;
    }

    DeviceLink link() {
      return link;
    }

    OpenFiles files() {
      return files;
    }

    Placeholders placeholders() {
      return placeholders;
    }

    Readiness readiness() {
      return readiness;
    }

    Descriptors descriptors() {
      return descriptors;
    }

    ProcessTable processes() {
      return processes;
    }

    Messages messages() {
      return messages;
    }

    Executables executables() {
      return executables;
    }

    /**
     * Gives the caller a descriptor for an open file of the device.
     *
     * @param p its placeholder; null if there could be none
     * @param closeOnExec whether the descriptor is close-on-exec
     * @return its number or {@code -errno}; after -EMFILE the handle is the caller's, after other
     *     errors it is closed
     */
    long install(Notification n, OpenFile file, @Nullable Placeholder p, boolean closeOnExec) {
      if (p == null) {
        calls.close(file.handle());
        return -Errno.ENFILE;
      }
      ProcessEntry process = n.process();
      processes.deviceFdsExist();
      process.setMayHoldDevice();
      long version = process.version();
      long fd = n.addFd(p.endB(), closeOnExec ? Fcntl.O_CLOEXEC : 0);
      // Before the answer: once the program knows the number it may close it and bind the port
      // anew, and then the hook's own reference must not be in the way.
      if (fd == -Errno.EMFILE) {
        placeholders.discard(p);
        return fd;
      }
      p.releaseEndB();
      if (fd < 0) {
        // The caller is gone. That was the last reference, and the handle is closed like any other.
        return -Errno.EINTR;
      }
      process.learnDevice((int) fd, p, file, version, process.mark((int) fd));
      p.heldBy(process.pidfd(), (int) fd);
      return fd;
    }

    PathCalls paths() {
      return paths;
    }

    /** The process may be given descriptors by another one. */
    void mayReceiveDescriptors(ProcessEntry p) {
      // Whether or not there are device fds now: the call may wait until there are.
      p.setMayHoldDevice();
    }

    /** What argument {@code index} refers to, or null if that is not a device fd. */
    @Nullable Placeholder lookup(Notification n, int index) {
      return index < 0 ? null : descriptors.lookup(n, n.intArg(index));
    }

    /** What a descriptor refers to that is named in the caller's memory, as {@link #lookup}. */
    @Nullable Placeholder lookupNumber(Notification n, int fd) {
      return descriptors.lookup(n, fd);
    }

    /** Continues a call that is not the device's; refuses it if that cannot be known. */
    void onHost(Notification n) {
      if (n.unreadable() && n.process().mayBeDevice(n.intArg(Math.max(0, n.row().fdIndex())))) {
        messages.once("dumpable", DeviceCalls.notDumpable(n));
        n.answerErrno(Errno.EPERM);
      } else {
        n.answerContinue();
      }
    }

    /** Answers with the result of a device call. */
    void answer(Notification n, long result) {
      n.answer(result);
    }

    /**
     * The caller is about to execute another program.
     *
     * @param program a hash of its path
     */
    void execing(Notification n, int program) {
      launcher.execing(n);
      n.process().dropEntries();
      if (shim != null) {
        shim.execing(n.thread(), program);
      }
      // Close-on-exec closes some; a set-user-ID program has another identity.
      descriptors.closing(n, 0, Integer.MAX_VALUE, true);
      n.thread().credentialsDirty = true;
    }

    int run() throws HookException {
      return launcher.run(
          new Launcher.Serving() {
            @Override
            public void serve(SeccompListener listener) {
              processes.start();
              sampler.start();
              Notifier created =
                  new Notifier(
                      listener, Services.this::dispatch, link.welcome().slots() + SPARE_THREADS);
              notifier = created;
              created.start();
            }

            @Override
            public void awaitEnd() {
              Notifier n = notifier;
              if (n != null) {
                n.awaitEnd();
              }
              if (ahead != null) {
                ahead.finish(DELIVERY);
              }
            }
          });
    }

    private void dispatch(Notification n) {
      try {
        Handler h = handlers.handler(n.nr());
        Row row = handlers.row(n.nr());
        if (policy.denies(n.nr(), n.args()) && processes.thread(n) != null) {
          String name = row == null ? "call " + n.nr() : row.name();
          messages.once("deny " + name, "a " + name + " of the program is denied");
          n.answerErrno(Errno.EPERM);
          return;
        }
        ThreadEntry t = h == null ? null : processes.thread(n);
        if (h == null || row == null || t == null) {
          // A thread of the hook itself on its way to the program, or a caller that has died.
          n.answerContinue();
          return;
        }
        if (t.held || t.process().held) {
          n.answerContinue();
          return;
        }
        n.observer(observer);
        n.thread(t);
        n.row(row);
        t.arrived();
        descriptors.arrived(t);
        pollers.arrived(t);
        if (shim != null && shim.arrived(n)) {
          return;
        }
        if (looks != null) {
          looks.settleTaken();
        }
        h.handle(n);
        if (!n.answered()) {
          throw new IllegalStateException("no answer to " + row.name());
        }
      } catch (RuntimeException | Error e) {
        messages.bug("serving call " + n.nr(), e);
        if (!n.answered()) {
          n.answerErrno(Errno.EIO);
        }
      }
    }

    @Override
    public void inherits(ProcessEntry p, @Nullable ProcessEntry parent, boolean sure) {
      if (parent != null && sure) {
        p.inheritEntries(parent);
      }
      if (shim != null) {
        shim.inherit(p, parent, sure);
      }
    }

    @Override
    public void met(ProcessEntry p) {
      guard.met(p.pid());
    }

    @Override
    public void threadEnded(ThreadEntry t) {
      pollers.arrived(t);
      calls.threadEnded(t);
    }

    @Override
    public void processEnded(ProcessEntry p) {
      guard.ended(p.pid());
      if (shim != null) {
        shim.ended(p);
      }
      launcher.reapOrphans();
    }

    @Override
    public void sweep() {
      Notifier n = notifier;
      if (n != null) {
        n.watch(System.nanoTime());
      }
      launcher.reapOrphans();
      NearSlots near = calls.near();
      if (near != null) {
        near.sweep();
      }
    }

    /** How many placeholders this process has descriptors for. */
    private static int capacity() {
      try (Arena a = Arena.ofConfined()) {
        MemorySegment limit = a.allocate(16, 8);
        long r = Processes.prlimit(0, Processes.RLIMIT_NOFILE, 0, limit.address());
        long soft = r < 0 ? 1024 : limit.get(ValueLayout.JAVA_LONG, 0);
        return Math.clamp(soft - OWN_DESCRIPTORS, 64, 1 << 20);
      }
    }

    @Override
    public void close() {
      processes.close();
      guard.bye(); // it needs a moment to end
      if (endOfRecording != null) {
        endOfRecording.run();
      }
      if (shim != null) {
        shim.close();
      }
      NearSlots near = calls.near();
      if (near != null) {
        near.close();
      }
      sampler.close();
      rings.close();
      xdp.close();
      if (ahead != null) {
        ahead.close();
      }
      placeholders.close();
      paths.close();
      splices.close();
      guard.close();
    }
  }
}
