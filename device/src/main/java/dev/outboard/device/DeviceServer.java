// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.channel.CallCarrier;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.syscalls.PathSet;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Accepts links and runs a {@link Session} for each, within {@link Limits}.
 *
 * <p>Any thread may call any method. The kernel is the caller's, and outlives this object.
 */
final class DeviceServer implements AutoCloseable {
  /** Links that have not said hello yet count, so that no one can open them without end. */
  private static final int MAX_LINKS = 64;

  private final Kernel kernel;
  private final Limits limits;
  private final String resolvConf;
  private final boolean ownNames;
  private final List<String> devicePaths;
  private final PathSet paths;
  private final List<String> notices;
  private final Consumer<String> log;
  private final boolean bpf;
  private final SendsAhead ahead;
  private final Nudger nudger = new Nudger();
  private volatile boolean parted;

  // Guarded by this.
  private final List<Session> links = new ArrayList<>();
  private final List<Thread> linkThreads = new ArrayList<>();
  private int admitted;
  private int threads;
  private long served;
  private boolean closed;

  /**
   * @param devicePaths where exports are mounted; see {@link
   *     dev.outboard.channel.Welcome#devicePaths}
   * @param bpf whether programs may call {@code bpf(2)}
   */
  DeviceServer(
      Kernel kernel,
      Limits limits,
      String resolvConf,
      boolean ownNames,
      List<String> devicePaths,
      List<String> notices,
      Consumer<String> log,
      boolean bpf) {
    this.kernel = kernel;
    this.limits = limits;
    this.resolvConf = resolvConf;
    this.ownNames = ownNames;
    this.devicePaths = List.copyOf(devicePaths);
    this.paths = PathSet.of(devicePaths);
    this.notices = List.copyOf(notices);
    this.log = log;
    this.bpf = bpf;
    this.ahead = new SendsAhead(kernel);
  }

  Kernel kernel() {
    return kernel;
  }

  /** What programs of all sessions send without waiting. */
  SendsAhead ahead() {
    return ahead;
  }

  Limits limits() {
    return limits;
  }

  String resolvConf() {
    return resolvConf;
  }

  /** Name servers were given, so that no others are to be asked. */
  boolean ownNames() {
    return ownNames;
  }

  PathSet paths() {
    return paths;
  }

  List<String> devicePaths() {
    return devicePaths;
  }

  List<String> notices() {
    return notices;
  }

  /** Whether programs may call {@code bpf(2)}. */
  boolean bpf() {
    return bpf;
  }

  Nudger nudger() {
    return nudger;
  }

  void log(String line) {
    log.accept(line);
  }

  /** A host ends its link by saying so. */
  void parting() {
    parted = true;
  }

  /** Whether a host has ended its link by saying so. */
  boolean parted() {
    return parted;
  }

  /**
   * Serves one link.
   *
   * @param fd a connected Unix stream socket; owned by this object from here on
   * @param carrier who brings its calls, if that is not shared memory
   * @return the thread that serves it and ends with it
   * @throws DeviceException if there are too many links, or the server is closed
   */
  Thread serve(int fd, @Nullable CallCarrier carrier) throws DeviceException {
    long id;
    synchronized (this) {
      id = ++served;
    }
    return serve(fd, id, why -> {}, carrier);
  }

  /**
   * The same with a number that somebody else has given the session.
   *
   * @param ended told why it has ended, once all that it had is taken back; on its thread
   */
  Thread serve(int fd, long id, Consumer<String> ended, @Nullable CallCarrier carrier)
      throws DeviceException {
    FrameStream stream = new FrameStream(fd);
    synchronized (this) {
      if (!closed && links.size() < MAX_LINKS) {
        Session session = new Session(this, stream, id, ended, carrier);
        Thread thread = Thread.ofPlatform().name("session-" + id).daemon(true).unstarted(session);
        links.add(session);
        linkThreads.add(thread);
        thread.start();
        return thread;
      }
    }
    stream.close();
    throw new DeviceException("The device has too many links.");
  }

  /** A link has said hello: null, or why it cannot be a session. */
  synchronized @Nullable String admit(Session session) {
    if (admitted >= limits.sessions()) {
      return "the device serves " + admitted + " program trees already, which is its limit";
    }
    admitted++;
    session.admitted();
    return null;
  }

  /** A session's last act; whoever wants to know it is told before its link counts as gone. */
  void ended(Session session, boolean wasAdmitted, String why) {
    synchronized (this) {
      if (wasAdmitted) {
        admitted--;
      }
    }
    log(session + " ends: " + why);
    session.tellEnd(why);
    synchronized (this) {
      int i = links.indexOf(session);
      links.remove(i);
      linkThreads.remove(i);
      notifyAll();
    }
  }

  /** Waits until no link is left. */
  synchronized void awaitNone() {
    while (!links.isEmpty()) {
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  /** What its sessions do, of as many as can be told of. */
  List<ServiceFrame.SessionStatus> status() {
    List<Session> now;
    synchronized (this) {
      now = List.copyOf(links);
    }
    return now.stream().limit(ServiceFrame.KernelStatus.MAX_SESSIONS).map(Session::status).toList();
  }

  /** Ends all links soon. */
  synchronized void stopAll() {
    links.forEach(Session::stop);
  }

  /** Whether there may be one more shadow thread; {@link #giveThread} gives it back. */
  synchronized boolean takeThread() {
    if (threads >= limits.threads()) {
      return false;
    }
    threads++;
    return true;
  }

  synchronized void giveThread() {
    threads--;
  }

  /** Sessions now. */
  synchronized int sessions() {
    return admitted;
  }

  /** Threads of this process. */
  int processThreads() {
    return entries("/proc/self/task");
  }

  /** Descriptors of this process. */
  int processDescriptors() {
    return entries("/proc/self/fd") - 1; // less the one that reads the directory
  }

  private static int entries(String directory) {
    try (Stream<Path> list = Files.list(Path.of(directory))) {
      return (int) list.count();
    } catch (IOException e) {
      return -1;
    }
  }

  /** Ends all sessions and waits for that. */
  @Override
  public void close() {
    List<Thread> left;
    synchronized (this) {
      closed = true;
      for (Session session : links) {
        session.stop();
      }
      left = List.copyOf(linkThreads);
    }
    for (Thread thread : left) {
      Threads.join(thread);
    }
    nudger.close();
  }
}
