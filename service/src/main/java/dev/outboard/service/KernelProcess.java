// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Restriction;
import dev.outboard.posix.SocketPair;
import dev.outboard.posix.Spawn;
import dev.outboard.posix.Uninterrupted;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A process with a kernel: {@code outboard device --control 3}. Its link carries {@link
 * ServiceFrame}s; its standard error is read here, and its last lines are kept for the case that it
 * ends too soon.
 *
 * <p>It leads a session of its own, so that no signal of a terminal reaches it. Any thread may call
 * any method; {@link #start} once, by who has made it.
 */
final class KernelProcess {
  /** The control link's number in the process. */
  private static final int CHILD_FD = 3;

  private static final long BOOT_SECONDS = 120;
  private static final int LINE_BYTES = 4096;
  private static final int KEPT_LINES = 12;

  /** What the process has to say itself, not its kernel, begins so. */
  private static final String OWN = "outboard: ";

  /** What happens to it; told on threads of this object. */
  interface Events {
    /** A session of this kernel is over. */
    void sessionEnded(KernelProcess kernel, long session, String why);

    /** The link of a session has something to say. */
    void sessionSaid(KernelProcess kernel, long session, String line);

    /** The process is gone, and has been waited for. */
    void processEnded(KernelProcess kernel, String how);

    /** It says something. */
    void says(KernelProcess kernel, String line, boolean ofItself);
  }

  private final String name;
  private final @Nullable String share;
  private final boolean isShared;
  private final Events events;
  private final CompletableFuture<ServiceFrame.Started> started = new CompletableFuture<>();
  private final AtomicLong questions = new AtomicLong();
  private final Map<Long, CompletableFuture<ServiceFrame.KernelStatus>> answers =
      new ConcurrentHashMap<>();
  private final Deque<String> lastLines = new ArrayDeque<>();
  private volatile @Nullable FrameStream stream;
  private volatile int pid;
  private volatile @Nullable Thread reader;
  private volatile @Nullable ControlGroup group;
  private volatile int percent;

  /** Its sessions; guarded by the service. */
  final Set<Long> sessions = new HashSet<>();

  /** It is to end with its last session; guarded by the service. */
  boolean released;

  /**
   * @param name what messages call it
   * @param share what sessions call it that share it; null if none may
   * @param isShared whether it may have more than one session
   */
  KernelProcess(String name, @Nullable String share, boolean isShared, Events events) {
    this.name = name;
    this.share = share;
    this.isShared = isShared;
    this.events = events;
  }

  /** What messages call it. */
  String name() {
    return name;
  }

  /** What sessions call it that share it; null if none may. */
  @Nullable String share() {
    return share;
  }

  /** Whether it may have more than one session. */
  boolean isShared() {
    return isShared;
  }

  /** Its process, 0 if there is none. */
  int pid() {
    return pid;
  }

  /**
   * Starts the process; {@link #awaitStarted} says what came of it. It boots without a limit of CPU
   * time, and has one before it serves anybody.
   *
   * @param left what it is left with from its first moment on
   * @param own a control group, this object's from here on, in which it is from its first moment;
   *     null for none
   * @param cpuPercent what it gets of a processor then, if it has a group; 0: no limit
   */
  void start(List<String> command, Restriction left, @Nullable ControlGroup own, int cpuPercent) {
    group = own;
    percent = own == null ? 0 : cpuPercent;
    String failure =
        own == null ? spawn(command, left) : spawn(own.entering(command), own.entered(left));
    if (failure != null) {
      fail(failure);
    }
  }

  /** It is not started after all. */
  void fail(String why) {
    started.completeExceptionally(new ServiceException(why));
    leaveGroup();
    events.processEnded(this, why);
  }

  private synchronized void leaveGroup() {
    ControlGroup own = group;
    if (own != null) {
      group = null;
      own.close();
    }
  }

  private @Nullable String spawn(List<String> command, Restriction left) {
    SocketPair link = SocketPair.open();
    if (link.error() < 0) {
      return "there is no link to it: " + Errno.name(-link.error());
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pair = arena.allocate(8, 4);
      long r = Linux.pipe2(pair.address(), Fcntl.O_CLOEXEC);
      if (r < 0) {
        Linux.close(link.one());
        Linux.close(link.other());
        return "there is no pipe to it: " + Errno.name((int) -r);
      }
      int from = pair.get(ValueLayout.JAVA_INT, 0);
      int to = pair.get(ValueLayout.JAVA_INT, 4);
      long child =
          new Spawn(command)
              .jvmOfOurs()
              .restrictedBy(left)
              .open(0, "/dev/null", Fcntl.O_RDWR)
              .open(1, "/dev/null", Fcntl.O_RDWR)
              .duplicate(to, 2)
              .duplicate(link.other(), CHILD_FD)
              .closeFrom(CHILD_FD + 1)
              .newSession()
              .start();
      Linux.close(link.other());
      Linux.close(to);
      if (child < 0) {
        Linux.close(link.one());
        Linux.close(from);
        return command.getFirst() + " cannot be started: " + Errno.name((int) -child);
      }
      pid = (int) child;
      stream = new FrameStream(link.one());
      Thread messages =
          Thread.ofPlatform().daemon().name(name + "-messages").start(() -> readLines(from));
      reader = Thread.ofPlatform().daemon().name(name).start(() -> read(messages));
      return null;
    }
  }

  /**
   * Waits until the kernel has booted.
   *
   * @throws ServiceException if it does not
   */
  ServiceFrame.Started awaitStarted() throws ServiceException {
    try {
      return started.get(BOOT_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      throw new ServiceException(cause == null ? "it fails" : String.valueOf(cause.getMessage()));
    } catch (TimeoutException e) {
      kill();
      throw new ServiceException("it does not boot within " + BOOT_SECONDS + " s");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ServiceException("the service ends");
    }
  }

  /**
   * Hands a session's link over, or a connection of one that the process carries itself, if that is
   * possible; the descriptor stays the caller's.
   *
   * @return false if the process is gone, or does not look at what it is told: nobody waits for it
   */
  boolean send(ServiceFrame frame, int fd) {
    FrameStream s = stream;
    return s != null && s.offer(frame, fd);
  }

  /** Says something, likewise. */
  boolean send(ServiceFrame frame) {
    return send(frame, -1);
  }

  /** Asks what it does; the answer may never come. */
  CompletableFuture<ServiceFrame.KernelStatus> askStatus() {
    CompletableFuture<ServiceFrame.KernelStatus> answer = new CompletableFuture<>();
    long id = questions.incrementAndGet();
    answers.put(id, answer);
    if (!started.isDone() || !send(new ServiceFrame.StatusRequest(id))) {
      answers.remove(id);
      answer.cancel(false);
    }
    return answer.whenComplete((status, failure) -> answers.remove(id));
  }

  /** Lets it end with its last session. */
  void release() {
    FrameStream s = stream;
    if (s != null) {
      s.finish();
    }
  }

  /** Lets it end its sessions, and then itself. */
  void stop() {
    FrameStream s = stream;
    if (s != null) {
      s.sendLast(new Frame.Bye("the service ends"));
      s.finish();
    }
  }

  /** Ends it whatever it does. */
  synchronized void kill() {
    if (pid > 0) {
      Processes.kill(pid, Processes.SIG_KILL);
    }
  }

  /** Waits until it has ended and all has been said about it. */
  void join() {
    Uninterrupted.join(reader);
  }

  /** What it printed last, oldest first. */
  List<String> lastLines() {
    synchronized (lastLines) {
      return new ArrayList<>(lastLines);
    }
  }

  private void read(Thread messages) {
    FrameStream s = stream;
    while (s != null && handle(s.receive(-1))) {
      // As long as there are frames.
    }
    String how = await();
    // All that it has printed is read by then, unless a process that it has started lives on.
    try {
      messages.join(TimeUnit.SECONDS.toMillis(1));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    if (s != null) {
      s.close();
    }
    started.completeExceptionally(new ServiceException(reason(how)));
    // Before the service is told: one that ends waits for that.
    leaveGroup();
    events.processEnded(this, how);
  }

  /** The last thing that it said itself, or how it has ended. */
  private String reason(String how) {
    String said = null;
    for (String line : lastLines()) {
      if (line.startsWith(OWN)) {
        said = line.substring(OWN.length());
      }
    }
    return said == null ? "it " + how : said;
  }

  private boolean handle(Decoded decoded) {
    if (!(decoded instanceof Decoded.Received(Frame frame))) {
      return false;
    }
    switch (frame) {
      case ServiceFrame.Started f -> {
        String failure = limit();
        if (failure != null) {
          started.completeExceptionally(new ServiceException(failure));
          return false;
        }
        started.complete(f);
      }
      case ServiceFrame.SessionEnded f -> events.sessionEnded(this, f.id(), f.why());
      case ServiceFrame.Said f -> events.sessionSaid(this, f.id(), f.line());
      case ServiceFrame.KernelStatus f -> {
        CompletableFuture<ServiceFrame.KernelStatus> asked = answers.remove(f.id());
        if (asked != null) {
          asked.complete(described(f));
        }
      }
      default -> {
        // Nothing else is of interest.
      }
    }
    return true;
  }

  /** Has its limit hold; says why it does not, null if it does. */
  private @Nullable String limit() {
    ControlGroup own = group;
    if (own == null || percent == 0) {
      return null;
    }
    try {
      own.limit(percent);
      return null;
    } catch (IOException e) {
      kill();
      return "its CPU time cannot be limited: " + own.path() + ": " + GroupFiles.reason(e);
    }
  }

  /** What it says of itself, and what the service knows of it. */
  private ServiceFrame.KernelStatus described(ServiceFrame.KernelStatus f) {
    ControlGroup own = group;
    ControlGroup.Usage usage = own == null ? new ControlGroup.Usage(-1, 0) : own.usage();
    return f.describedBy(
        share == null ? "" : share,
        percent,
        usage.cpuNanos() < 0 ? f.cpuNanos() : usage.cpuNanos(),
        usage.throttledNanos());
  }

  /** Waits for the process; says how it has ended. */
  private String await() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = arena.allocate(Processes.SIGINFO_BYTES, 8);
      // Not reaped yet: until then the number is its own, and kill() may use it.
      while (Processes.waitid(
              Processes.P_PID, pid, info.address(), Processes.WEXITED | Processes.WNOWAIT)
          == -Errno.EINTR) {
        // Again.
      }
      int code = info.get(ValueLayout.JAVA_INT, Processes.SIGINFO_CODE);
      int status = info.get(ValueLayout.JAVA_INT, Processes.SIGINFO_STATUS);
      synchronized (this) {
        Linux.syscall(SyscallNumbers.WAIT4, pid, 0, 0);
        pid = 0;
      }
      return code == Processes.CLD_EXITED
          ? "ended with status " + status
          : "was ended by signal " + status;
    }
  }

  private void readLines(int fd) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(LINE_BYTES);
      ByteArrayOutputStream line = new ByteArrayOutputStream();
      for (long n; (n = Linux.read(fd, buffer.address(), LINE_BYTES)) > 0; ) {
        for (long i = 0; i < n; i++) {
          byte b = buffer.get(ValueLayout.JAVA_BYTE, i);
          if (b != '\n') {
            line.write(b);
          }
          if (b == '\n' || line.size() == LINE_BYTES) {
            took(line);
          }
        }
      }
      if (line.size() > 0) {
        took(line);
      }
    }
    Linux.close(fd);
  }

  private void took(ByteArrayOutputStream bytes) {
    String line = bytes.toString(StandardCharsets.UTF_8);
    bytes.reset();
    synchronized (lastLines) {
      if (lastLines.size() == KEPT_LINES) {
        lastLines.removeFirst();
      }
      lastLines.addLast(line);
    }
    boolean own = line.startsWith(OWN);
    events.says(this, own ? line.substring(OWN.length()) : line, own);
  }
}
