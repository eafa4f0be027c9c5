// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.abi.Socket;
import dev.outboard.channel.ConnectionTaker;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.FirstFrame;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.PlainText;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import dev.outboard.channel.SessionFate;
import dev.outboard.channel.UnixListener;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Restriction;
import dev.outboard.posix.Uninterrupted;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Many sessions at once, each on a kernel in a process of its own, unless it shares one on purpose.
 *
 * <p>A visitor's first frame is looked at, not taken: a session's link is handed to its kernel's
 * process as it came, and what crosses it is none of the service's business. So a kernel that dies
 * takes its own sessions with it and nothing else, and the service is in no call's way.
 *
 * <p>A kernel ends with its last session, shared or not; only the one of a service that has one for
 * all stays. Any thread may call any method, {@link #close} once.
 */
public final class Service implements AutoCloseable {
  /** Connections at a time that have not become a session yet. */
  private static final int MAX_VISITORS = 64;

  /** Guests at a time who ask what there is and may not know all. */
  static final int MAX_ASKING = 32;

  /** Of one guest. */
  static final int MAX_ASKING_EACH = 4;

  /** How long a visitor may take to say what it wants, as for a session's greeting. */
  private static final int GREETING_MILLIS = 10_000;

  /** How long a session may wait for the process of one that has just ended. */
  private static final long PLACE_NANOS = TimeUnit.SECONDS.toNanos(5);

  private static final int ANSWER_SECONDS = 1;
  private static final String DEAF = "its kernel's process takes nothing";

  /** Of what kernels' processes say of their sessions so many characters are told. */
  private static final int MAX_SAID = 512;

  /** What to do where no control groups can be made. */
  public static final String GROUPS_ADVICE =
      "Start the service where it may: as the systemd unit of scripts/, by systemd-run -p"
          + " Delegate=cpu, or as root; in a container, with /sys/fs/cgroup writable.";

  /** How long kernels that are told to stop may take. */
  private static final Duration STOPPING = Duration.ofSeconds(8);

  private final ServiceOptions options;
  private final Semaphore boots =
      new Semaphore(Math.max(2, 2 * Runtime.getRuntime().availableProcessors()), true);
  private final Semaphore visitors = new Semaphore(MAX_VISITORS);
  private final Happenings happenings = new Happenings();
  private final long began = System.nanoTime();
  private final AtomicLong groupsMade = new AtomicLong();
  private volatile Command command;

  // Guarded by this.
  private final Set<KernelProcess> processes = new LinkedHashSet<>();
  private final Map<String, KernelProcess> shared = new HashMap<>();
  private final Map<Long, Entry> sessions = new HashMap<>();
  private final Map<String, Tally> tallies = new HashMap<>();
  private int asking;
  private final List<UnixListener> listeners = new ArrayList<>();
  private final List<Thread> acceptors = new ArrayList<>();
  private @Nullable KernelProcess common;
  private @Nullable ControlGroups groups;
  private String noGroups = "";
  private long kernels;
  private long served;
  private long refused;
  private long died;
  private boolean draining;

  /**
   * Who is at the other end of a link.
   *
   * @param name for a log
   * @param guest null if it came by a socket of the service's, so that it may see what there is
   */
  private record Visitor(String name, @Nullable Guest guest) {}

  /**
   * A session.
   *
   * @param visitor who has begun it
   * @param number which of that guest's it is; 0 if it is no guest's
   * @param fate who is told what becomes of it; null if nobody is
   */
  private record Entry(Visitor visitor, long number, @Nullable SessionFate fate) {}

  /** A session that its kernel's process carries: connections of its host go there. Any thread. */
  private final class Carried implements ConnectionTaker {
    private final KernelProcess kernel;
    private final long id;
    private final Duration patience;
    private boolean begun; // guarded by this

    Carried(KernelProcess kernel, long id, Duration patience) {
      this.kernel = kernel;
      this.id = id;
      this.patience = patience;
    }

    @Override
    public synchronized boolean connect(int fd, String ownKey, String hostKey) {
      boolean first = !begun;
      begun = true;
      boolean taken =
          kernel.send(new ServiceFrame.Carry(id, first, patience.toMillis(), ownKey, hostKey), fd);
      if (first && !taken) {
        happenings.sessionEnded(kernel, id, DEAF);
      }
      return taken;
    }

    @Override
    public synchronized void end() {
      if (begun) {
        kernel.send(new ServiceFrame.End(id));
      } else {
        begun = true; // With none to come.
        happenings.sessionEnded(kernel, id, "it had no connection");
      }
    }
  }

  /** What a guest has had. Guarded by the service; as many as there are keys. */
  private static final class Tally {
    private long served;
    private long refused;
    private long died;
    private int asking;
  }

  /**
   * How kernels' processes are started: words, the first of which is a path.
   *
   * @param own for one with a single session
   * @param shared for one that several share
   * @param cpu what CPU time each of them gets
   * @param left what they are left with from their first moment on
   */
  public record Command(List<String> own, List<String> shared, CpuShare cpu, Restriction left) {
    public Command {
      own = List.copyOf(own);
      shared = List.copyOf(shared);
    }
  }

  /** Nothing is started yet. */
  public Service(Command command, ServiceOptions options) {
    this.command = command;
    this.options = options;
  }

  /**
   * Kernels from here on are started so; those that are there stay as they are.
   *
   * @throws ServiceException if they cannot be; nothing is changed then
   */
  public void setCommand(Command newCommand) throws ServiceException {
    prepareGroups(newCommand.cpu());
    command = newCommand;
  }

  /**
   * Finds out whether CPU time can be shared out as it is to be, and starts the kernel of all
   * sessions, if there is to be one. Called once, before sessions begin. This process may be in
   * another control group afterwards.
   *
   * @return what the kernel said of itself, null without one
   * @throws ServiceException if it does not boot, or if CPU time cannot be limited
   */
  public ServiceFrame.@Nullable Started start() throws ServiceException {
    prepareGroups(command.cpu());
    if (!options.oneKernel()) {
      return null;
    }
    KernelProcess kernel;
    synchronized (this) {
      kernel = commonKernel();
    }
    boot(kernel);
    return kernel.awaitStarted();
  }

  /** Has control groups if they are wanted and can be had. */
  private synchronized void prepareGroups(CpuShare cpu) throws ServiceException {
    if (groups == null && cpu.apart()) {
      try {
        groups = ControlGroups.open();
      } catch (NoControlGroups e) {
        noGroups = e.why();
      }
    }
    if (!cpu.needsGroup()) {
      return;
    }
    String why = noGroups;
    if (groups != null) {
      try {
        groups.requireLimit(cpu.percent());
        return;
      } catch (NoControlGroups e) {
        why = e.why();
      }
    }
    throw new ServiceException(
        "The CPU time of sessions cannot be limited (--limit cpu="
            + cpu.percent()
            + "%): "
            + why
            + ". "
            + GROUPS_ADVICE);
  }

  /**
   * Where this process could make control groups for kernels, as far as can be told by looking.
   *
   * @throws ServiceException if it could not; the message says why
   */
  public static Path controlGroups() throws ServiceException {
    try {
      return ControlGroups.look();
    } catch (NoControlGroups e) {
      throw new ServiceException(e.why());
    }
  }

  /** This socket is the service's from here on. */
  public synchronized void adopt(UnixListener listener) {
    listeners.add(listener);
  }

  /** Serves all that comes to its sockets. Called once. */
  public synchronized void accept() {
    for (UnixListener listener : listeners) {
      acceptors.add(
          Thread.ofPlatform()
              .daemon()
              .name("acceptor")
              .start(() -> listener.accept(this::visit, options.log())));
    }
  }

  /**
   * A session for somebody who comes by another way: over connections from another machine.
   *
   * @param guest who it is
   * @param share the kernel that it is to share with others; null for none
   * @param patience how long it is kept without a connection
   * @param fate is told what becomes of it
   * @throws ServiceException if there is none
   */
  public ConnectionTaker open(
      Guest guest, @Nullable String share, Duration patience, SessionFate fate)
      throws ServiceException {
    Place place = place(share, new Visitor(guest.name(), guest), fate);
    return new Carried(place.kernel(), place.id(), patience);
  }

  /**
   * Lets a guest ask what there is.
   *
   * @param operator he may know all, and does not take a place from those who may not
   * @throws ServiceException if too many ask already
   */
  public synchronized Asking ask(Guest guest, boolean operator) throws ServiceException {
    Tally tally = tally(guest);
    boolean tooMany = tally.asking >= MAX_ASKING_EACH;
    if (tooMany || (!operator && asking >= MAX_ASKING)) {
      refused++;
      tally.refused++;
      throw new ServiceException(
          tooMany
              ? "this host asks for the status " + tally.asking + " times already"
              : "too many hosts ask for the status now");
    }
    tally.asking++;
    asking += operator ? 0 : 1;
    return new Asking(this, guest, !operator);
  }

  /** One of his questions is over. */
  synchronized void asksNoMore(Guest guest, boolean counted) {
    tally(guest).asking--;
    asking -= counted ? 1 : 0;
  }

  private synchronized Tally tally(Guest guest) {
    return tallies.computeIfAbsent(guest.identity(), identity -> new Tally());
  }

  private void visit(int fd) {
    visit(fd, new Visitor(peer(fd), null));
  }

  private void visit(int fd, Visitor visitor) {
    if (!visitors.tryAcquire()) {
      refuse(
          fd,
          visitor,
          "the service has " + MAX_VISITORS + " visitors already that wait or say nothing");
      return;
    }
    Thread.ofPlatform()
        .daemon()
        .name("visitor")
        .start(() -> {
          try {
            greet(fd, visitor);
          } catch (RuntimeException e) {
            options.log().accept("a visitor fails: " + e);
          } finally {
            visitors.release();
          }
        });
  }

  /** Looks at what comes first, and does what it asks for. */
  private void greet(int fd, Visitor visitor) {
    switch (FirstFrame.look(fd, GREETING_MILLIS)) {
      case Decoded.Received(ServiceFrame.Join(String name)) -> admit(fd, name, visitor);
      case Decoded.Received(ServiceFrame.StatusRequest f) -> {
        try (FrameStream stream = new FrameStream(fd)) {
          ServiceStatus status = status();
          stream.send(status.service());
          status.kernels().forEach(stream::send);
        }
      }
      case Decoded.Received(ServiceFrame f) -> refuse(fd, visitor, "no session begins so");
      // A session's, whose kernel judges it.
      case Decoded.Received(Frame f) -> admit(fd, null, visitor);
      case Decoded.Malformed(String why) -> refuse(fd, visitor, why);
      case Decoded.Ended(String why) -> refuse(fd, visitor, why);
    }
  }

  private void admit(int fd, @Nullable String share, Visitor visitor) {
    try {
      Place place = place(share, visitor, null);
      // If its process ends now, the link's other end, which only it has then, is closed.
      if (place.kernel().send(new ServiceFrame.Serve(place.id()), fd)) {
        Linux.close(fd);
      } else {
        happenings.sessionEnded(place.kernel(), place.id(), DEAF);
        say(fd, DEAF);
      }
    } catch (ServiceException e) {
      say(fd, String.valueOf(e.getMessage()));
    }
  }

  /** A session that has a kernel. */
  private record Place(KernelProcess kernel, long id) {}

  /**
   * Finds a kernel for a session, and waits until it has booted.
   *
   * @throws ServiceException if there is none, as is counted; the message is for the host's user
   */
  private Place place(@Nullable String share, Visitor visitor, @Nullable SessionFate fate)
      throws ServiceException {
    KernelProcess kernel = null;
    boolean mine = false;
    long id = 0;
    String refusal;
    synchronized (this) {
      awaitPlace(share);
      refusal = refusal(share);
      if (refusal == null) {
        id = ++served;
        KernelProcess there =
            options.oneKernel() ? common : share == null ? null : shared.get(share);
        mine = there == null;
        kernel =
            there != null
                ? there
                : options.oneKernel() ? commonKernel() : newKernel("session " + id, share);
        kernel.sessions.add(id);
        Guest guest = visitor.guest();
        sessions.put(id, new Entry(visitor, guest == null ? 0 : ++tally(guest).served, fate));
      }
    }
    if (kernel == null) {
      countRefused(visitor);
      throw new ServiceException(String.valueOf(refusal));
    }
    if (mine) {
      boot(kernel);
    }
    try {
      kernel.awaitStarted();
    } catch (ServiceException e) {
      countRefused(visitor);
      throw new ServiceException("the kernel for this session did not start: " + e.getMessage());
    }
    return new Place(kernel, id);
  }

  /** Those that have just ended may still have their processes. */
  private synchronized void awaitPlace(@Nullable String share) {
    long deadline = System.nanoTime() + PLACE_NANOS;
    boolean starts = !options.oneKernel() && (share == null || !shared.containsKey(share));
    while (starts && !draining && full() && sessions.size() < options.maxSessions()) {
      long millis = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
      if (millis <= 0) {
        return;
      }
      try {
        wait(millis);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  private synchronized boolean full() {
    return processes.size() >= options.maxSessions();
  }

  private synchronized @Nullable String refusal(@Nullable String share) {
    if (draining) {
      return "the service ends, and takes no new sessions";
    }
    boolean starts = !options.oneKernel() && (share == null || !shared.containsKey(share));
    if (sessions.size() >= options.maxSessions() || (starts && full())) {
      return "the service serves "
          + sessions.size()
          + " sessions already, which is its limit (--max-sessions)";
    }
    if (options.oneKernel() && share != null) {
      return "this service has one kernel for all its sessions: run without --share";
    }
    if (options.oneKernel() && common != null && common.released) {
      return "the kernel of all sessions is about to end";
    }
    return null;
  }

  private synchronized KernelProcess commonKernel() {
    KernelProcess kernel = newKernel("kernel " + (kernels + 1), null);
    common = kernel;
    return kernel;
  }

  private synchronized KernelProcess newKernel(String name, @Nullable String share) {
    kernels++;
    KernelProcess kernel =
        new KernelProcess(
            share == null ? name : "kernel '" + share + "'",
            share,
            share != null || options.oneKernel(),
            happenings);
    processes.add(kernel);
    if (share != null) {
      shared.put(share, kernel);
    }
    return kernel;
  }

  private void boot(KernelProcess kernel) {
    boots.acquireUninterruptibly();
    try {
      start(kernel, command);
      kernel.awaitStarted();
    } catch (ServiceException e) {
      // Whoever wants to use the kernel is told so.
    } finally {
      boots.release();
    }
  }

  private void start(KernelProcess kernel, Command how) {
    ControlGroups place;
    synchronized (this) {
      place = groups;
    }
    ControlGroup group = null;
    if (place != null && how.cpu().apart()) {
      try {
        group = place.make(Long.toString(groupsMade.incrementAndGet()));
      } catch (IOException e) {
        String why =
            "no control group can be made in " + place.directory() + ": " + GroupFiles.reason(e);
        if (how.cpu().needsGroup()) {
          kernel.fail(why);
          return;
        }
        happenings.says(kernel, why + "; it shares CPU time as any process does", true);
      }
    }
    kernel.start(
        kernel.isShared() ? how.shared() : how.own(), how.left(), group, how.cpu().percent());
  }

  /** What the machine's kernel says of the process at the other end. */
  private static String peer(int fd) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment credentials = arena.allocate(16, 8);
      credentials.set(ValueLayout.JAVA_INT, 12, 12);
      long r =
          Linux.getsockopt(
              fd,
              Socket.SOL_SOCKET,
              Socket.SO_PEERCRED,
              credentials.address(),
              credentials.address() + 12);
      return r < 0
          ? "somebody"
          : "process "
              + credentials.get(ValueLayout.JAVA_INT, 0)
              + " of user "
              + credentials.get(ValueLayout.JAVA_INT, 4);
    }
  }

  private void refuse(int fd, Visitor visitor, String why) {
    countRefused(visitor);
    say(fd, why);
  }

  private synchronized void countRefused(Visitor visitor) {
    Guest guest = visitor.guest();
    refused++;
    if (guest != null) {
      tally(guest).refused++;
    }
  }

  private static void say(int fd, String why) {
    try (FrameStream stream = new FrameStream(fd)) {
      stream.sendLast(new Frame.Bye(why));
    }
  }

  /** What kernels' processes tell. */
  private final class Happenings implements KernelProcess.Events {
    @Override
    public void sessionEnded(KernelProcess kernel, long session, String why) {
      boolean last;
      Entry entry;
      synchronized (Service.this) {
        if (!kernel.sessions.remove(session)) {
          return; // none of its own
        }
        entry = sessions.remove(session);
        last = kernel.sessions.isEmpty() && (kernel != common || draining) && !kernel.released;
        if (last) {
          letEnd(kernel);
        }
        Service.this.notifyAll();
      }
      if (last) {
        kernel.release();
      }
      if (entry != null && entry.fate() != null) {
        entry.fate().ended(said(why));
      }
    }

    /** What a process says that a host may have got hold of. */
    private static String said(String line) {
      return PlainText.of(line.length() <= MAX_SAID ? line : line.substring(0, MAX_SAID));
    }

    @Override
    public void sessionSaid(KernelProcess kernel, long session, String line) {
      Entry entry;
      synchronized (Service.this) {
        entry = kernel.sessions.contains(session) ? sessions.get(session) : null;
      }
      if (entry != null && entry.fate() != null) {
        entry.fate().says(said(line));
      }
    }

    @Override
    public void processEnded(KernelProcess kernel, String how) {
      List<String> lost = new ArrayList<>();
      List<SessionFate> fates = new ArrayList<>();
      boolean tooSoon;
      synchronized (Service.this) {
        Set<Guest> losers = new HashSet<>();
        for (long id : kernel.sessions) {
          Entry entry = sessions.remove(id);
          if (entry != null) {
            lost.add("session " + id + " (" + entry.visitor().name() + ")");
            if (entry.visitor().guest() != null) {
              losers.add(entry.visitor().guest());
            }
            if (entry.fate() != null) {
              fates.add(entry.fate());
            }
          }
        }
        kernel.sessions.clear();
        tooSoon = !lost.isEmpty() || !kernel.released;
        if (tooSoon) {
          died++;
          losers.stream()
              .map(Guest::identity)
              .distinct()
              .forEach(identity -> {
                Tally tally = tallies.get(identity);
                if (tally != null) {
                  tally.died++;
                }
              });
        }
        letEnd(kernel);
        processes.remove(kernel);
        Service.this.notifyAll();
      }
      fates.forEach(fate -> fate.ended("its kernel's process " + how));
      if (tooSoon) {
        StringBuilder report =
            new StringBuilder(kernel.name()).append(": its process ").append(how);
        if (!lost.isEmpty()) {
          report.append("; lost: ").append(String.join(", ", lost));
        }
        List<String> lines = kernel.lastLines();
        if (!lines.isEmpty()) {
          report.append("; it said last:");
          lines.forEach(line -> report.append("\n  ").append(line));
        }
        options.log().accept(report.toString());
      }
    }

    @Override
    public void says(KernelProcess kernel, String line, boolean ofItself) {
      (ofItself ? options.log() : options.kernelLog()).accept(kernel.name() + ": " + line);
    }
  }

  /** Nobody gets this kernel any more. */
  private synchronized void letEnd(KernelProcess kernel) {
    kernel.released = true;
    String share = kernel.share();
    if (share != null) {
      shared.remove(share, kernel);
    }
    if (common == kernel) {
      common = null;
    }
  }

  /**
   * What there is: of kernels those that have booted and answer. Takes a second if one does not.
   */
  public ServiceStatus status() {
    List<KernelProcess> asked;
    synchronized (this) {
      asked = List.copyOf(processes);
    }
    List<ServiceFrame.KernelStatus> kernelStatus = List.copyOf(answers(asked).values());
    synchronized (this) {
      return new ServiceStatus(
          new ServiceFrame.ServiceStatus(
              options.version(),
              Processes.getpid(),
              TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began),
              options.maxSessions(),
              options.oneKernel(),
              draining,
              false,
              kernelStatus.size(),
              served,
              refused,
              died,
              cpu()),
          kernelStatus);
    }
  }

  /** What they say of themselves: those that have booted and answer in time. */
  private static Map<KernelProcess, ServiceFrame.KernelStatus> answers(
      List<KernelProcess> processes) {
    Map<KernelProcess, CompletableFuture<ServiceFrame.KernelStatus>> answers =
        new LinkedHashMap<>();
    for (KernelProcess k : processes) {
      answers.put(k, k.askStatus().completeOnTimeout(null, ANSWER_SECONDS, TimeUnit.SECONDS));
    }
    Map<KernelProcess, ServiceFrame.KernelStatus> all = new LinkedHashMap<>();
    answers.forEach((kernel, answer) -> {
      try {
        ServiceFrame.KernelStatus status = answer.join();
        if (status != null) {
          all.put(kernel, status);
        }
      } catch (CancellationException | CompletionException e) {
        // It is on its way in or out.
      }
    });
    return all;
  }

  /** What is a guest's own of that, and what he may know of the service; his kernels are asked. */
  ServiceStatus statusOf(Guest guest) {
    Map<KernelProcess, Map<Long, Long>> own = new LinkedHashMap<>();
    synchronized (this) {
      for (KernelProcess kernel : processes) {
        Map<Long, Long> numbers = new HashMap<>();
        for (long id : kernel.sessions) {
          Entry entry = sessions.get(id);
          Guest owner = entry == null ? null : entry.visitor().guest();
          if (entry != null && owner != null && owner.identity().equals(guest.identity())) {
            numbers.put(id, entry.number());
          }
        }
        if (!numbers.isEmpty()) {
          own.put(kernel, numbers);
        }
      }
    }
    List<ServiceFrame.KernelStatus> told = new ArrayList<>();
    answers(List.copyOf(own.keySet()))
        .forEach((kernel, status) ->
            told.add(OwnView.of(status, own.getOrDefault(kernel, Map.of()), kernel.isShared())));
    synchronized (this) {
      Tally tally = tally(guest);
      int percent = command.cpu().percent();
      return new ServiceStatus(
          new ServiceFrame.ServiceStatus(
              options.version(),
              0,
              TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began),
              options.maxSessions(),
              options.oneKernel(),
              draining,
              true,
              told.size(),
              tally.served,
              tally.refused,
              tally.died,
              percent == 0
                  ? "no limit but what others need"
                  : "at most " + percent + "% of one processor for each kernel"),
          told);
    }
  }

  /** How kernels share CPU time, for people. */
  private synchronized String cpu() {
    ControlGroups place = groups;
    CpuShare share = command.cpu();
    if (!share.apart()) {
      return "shared as any processes do, as --limit cpu=none says";
    }
    if (place == null) {
      return "shared as any processes do: " + noGroups;
    }
    return "a control group in "
        + place.directory()
        + " for each kernel"
        + (share.percent() == 0 ? "" : ", at most " + share.percent() + "% of one processor");
  }

  /** Sessions now. */
  public synchronized int sessions() {
    return sessions.size();
  }

  /** Takes no new sessions from here on; those that there are go on. */
  public void drain() {
    KernelProcess idle;
    synchronized (this) {
      draining = true;
      idle = common;
      if (idle != null && idle.sessions.isEmpty()) {
        letEnd(idle);
      } else {
        idle = null;
      }
      notifyAll();
    }
    if (idle != null) {
      idle.release();
    }
  }

  /**
   * Waits until no kernel is left.
   *
   * @return whether it is so within {@code limit}
   */
  public synchronized boolean awaitIdle(Duration limit) {
    long deadline = System.nanoTime() + limit.toNanos();
    while (!processes.isEmpty()) {
      long millis = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
      if (millis <= 0) {
        return false;
      }
      try {
        wait(millis);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return false;
      }
    }
    return true;
  }

  /** Ends all sessions and kernels, and gives the sockets back. */
  @Override
  public void close() {
    List<KernelProcess> left;
    synchronized (this) {
      draining = true;
      left = List.copyOf(processes);
      left.forEach(this::letEnd);
      notifyAll();
    }
    left.forEach(KernelProcess::stop);
    if (!awaitIdle(STOPPING)) {
      left.forEach(KernelProcess::kill);
    }
    left.forEach(KernelProcess::join);
    List<UnixListener> sockets;
    List<Thread> threads;
    ControlGroups place;
    synchronized (this) {
      place = groups;
      groups = null;
      sockets = List.copyOf(listeners);
      threads = List.copyOf(acceptors);
    }
    sockets.forEach(UnixListener::stop);
    threads.forEach(Uninterrupted::join);
    sockets.forEach(UnixListener::close);
    if (place != null) {
      place.close();
    }
  }
}
