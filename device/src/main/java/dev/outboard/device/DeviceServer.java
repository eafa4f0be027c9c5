// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.channel.FrameStream;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.PathSet;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Accepts links and runs a {@link Session} for each, within {@link Limits}.
 *
 * <p>Any thread may call any method. The kernel is the caller's, and outlives this object.
 */
final class DeviceServer implements AutoCloseable {
  private static final int UNIX_PATH_BYTES = 108;
  private static final int BACKLOG = 64;

  /** Links that have not said hello yet count, so that no one can open them without end. */
  private static final int MAX_LINKS = 64;

  private final Kernel kernel;
  private final Limits limits;
  private final String resolvConf;
  private final List<String> devicePaths;
  private final PathSet paths;
  private final List<String> notices;
  private final Consumer<String> log;
  private final Nudger nudger = new Nudger();
  private volatile boolean parted;

  // Guarded by this.
  private final List<Session> links = new ArrayList<>();
  private final List<Thread> linkThreads = new ArrayList<>();
  private int admitted;
  private int threads;
  private int served;
  private boolean closed;

  private int listener = -1;
  private @Nullable Path socket;
  private @Nullable Thread acceptor;

  /**
   * @param devicePaths where exports are mounted; see {@link
   *     dev.outboard.channel.Welcome#devicePaths}
   */
  DeviceServer(
      Kernel kernel,
      Limits limits,
      String resolvConf,
      List<String> devicePaths,
      List<String> notices,
      Consumer<String> log) {
    this.kernel = kernel;
    this.limits = limits;
    this.resolvConf = resolvConf;
    this.devicePaths = List.copyOf(devicePaths);
    this.paths = PathSet.of(devicePaths);
    this.notices = List.copyOf(notices);
    this.log = log;
  }

  Kernel kernel() {
    return kernel;
  }

  Limits limits() {
    return limits;
  }

  String resolvConf() {
    return resolvConf;
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
   * @return the thread that serves it and ends with it
   * @throws DeviceException if there are too many links, or the server is closed
   */
  Thread serve(int fd) throws DeviceException {
    FrameStream stream = new FrameStream(fd);
    synchronized (this) {
      if (!closed && links.size() < MAX_LINKS) {
        Session session = new Session(this, stream, "session-" + ++served);
        Thread thread =
            Thread.ofPlatform().name("session-" + served).daemon(true).unstarted(session);
        links.add(session);
        linkThreads.add(thread);
        thread.start();
        return thread;
      }
    }
    stream.close();
    throw new DeviceException("The device has too many links.");
  }

  /**
   * Listens on a Unix socket that only this user may connect to. A socket file that no one listens
   * on any more is replaced; anything else at that path is left alone.
   *
   * @throws DeviceException if the path cannot be used
   */
  void listen(Path path) throws DeviceException {
    byte[] name = path.toString().getBytes(StandardCharsets.UTF_8);
    if (name.length >= UNIX_PATH_BYTES) {
      throw new DeviceException("The socket path " + path + " is longer than 107 bytes.");
    }
    long fd = Linux.socket(Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    if (fd < 0) {
      throw new DeviceException("No socket to listen on: " + Errno.name((int) -fd) + ".");
    }
    boolean done = false;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(2 + UNIX_PATH_BYTES, 8);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_UNIX);
      MemorySegment.copy(name, 0, address, ValueLayout.JAVA_BYTE, 2, name.length);
      int length = 2 + name.length + 1;
      removeStale(path, address, length);
      // The file that bind makes has the socket's mode: there is no moment at which others may
      // connect.
      Linux.fchmod((int) fd, 0600);
      long r = Linux.bind((int) fd, address.address(), length);
      if (r == 0) {
        r = Linux.listen((int) fd, BACKLOG);
      }
      if (r < 0) {
        throw new DeviceException("Cannot listen at " + path + ": " + Errno.name((int) -r) + ".");
      }
      done = true;
    } finally {
      if (!done) {
        Linux.close((int) fd);
      }
    }
    listener = (int) fd;
    socket = path;
    acceptor = Thread.ofPlatform().name("acceptor").daemon(true).start(this::accept);
  }

  private static void removeStale(Path path, MemorySegment address, int length)
      throws DeviceException {
    try {
      BasicFileAttributes file =
          Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      if (!file.isOther()) {
        throw new DeviceException(path + " exists and is not a socket.");
      }
    } catch (IOException e) {
      return; // Nothing there; or bind will say what is wrong.
    }
    long probe = Linux.socket(Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    long r = Linux.connect((int) probe, address.address(), length);
    Linux.close((int) probe);
    if (r != -Errno.ECONNREFUSED) {
      throw new DeviceException("A device listens at " + path + " already.");
    }
    try {
      Files.deleteIfExists(path);
    } catch (IOException e) {
      throw new DeviceException("The stale socket " + path + " cannot be removed.", e);
    }
  }

  private void accept() {
    while (true) {
      long fd = Linux.accept4(listener, Socket.SOCK_CLOEXEC);
      if (fd >= 0) {
        try {
          serve((int) fd);
        } catch (DeviceException e) {
          log(String.valueOf(e.getMessage()));
        }
      } else if (fd == -Errno.EMFILE || fd == -Errno.ENFILE || fd == -Errno.ENOMEM) {
        log("no link accepted: " + Errno.name((int) -fd));
        try {
          TimeUnit.MILLISECONDS.sleep(100);
        } catch (InterruptedException e) {
          return;
        }
      } else if (fd != -Errno.EINTR && fd != -Errno.ECONNABORTED) {
        return; // shut down by close()
      }
    }
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

  /** A session's last act. */
  void ended(Session session, boolean wasAdmitted, String why) {
    synchronized (this) {
      int i = links.indexOf(session);
      links.remove(i);
      linkThreads.remove(i);
      if (wasAdmitted) {
        admitted--;
      }
      notifyAll();
    }
    log(session + " ends: " + why);
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

  /** Ends all sessions and waits for that, then gives the socket back. */
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
    Thread accepting = acceptor;
    if (accepting != null) {
      Linux.shutdown(listener, Socket.SHUT_RDWR);
      Threads.join(accepting);
      Linux.close(listener);
      Path path = socket;
      if (path != null) {
        try {
          Files.deleteIfExists(path);
        } catch (IOException e) {
          log("the socket " + path + " cannot be removed: " + e.getMessage());
        }
      }
    }
    for (Thread thread : left) {
      Threads.join(thread);
    }
    nudger.close();
  }
}
