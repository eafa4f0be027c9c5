// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.SocketPair;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.relay.CarriedSession;
import dev.outboard.relay.DeviceRelay;
import dev.outboard.relay.Wire;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A device's end of the control link to the service that has started its process: sessions come by
 * it, and the service is told of their ends.
 *
 * <p>The service says when the device ends: it closes the link, and then the sessions that there
 * are go on to their ends; or it says {@link Frame.Bye}, and then they end at once. A service that
 * is gone has closed the link: its sessions outlive it. It is trusted as whoever starts a process
 * is; what it sends is checked as if it were not.
 */
final class ServiceLink implements Runnable {
  /** {@code linux/time.h}. */
  private static final int CLOCK_PROCESS_CPUTIME_ID = 2;

  /** How long hosts may take to fetch the last words of sessions that the service ends. */
  private static final long PARTING_NANOS = TimeUnit.SECONDS.toNanos(2);

  private final Device device;
  private final DeviceServer server;
  private final FrameStream stream;

  /** Sessions of hosts that come by TCP, by their numbers. */
  private final Map<Long, CarriedSession> carried = new HashMap<>();

  private boolean parting;
  private final long began = System.nanoTime();

  /**
   * @param fd a connected Unix socket; owned by this object
   */
  ServiceLink(Device device, DeviceServer server, int fd) {
    this.device = device;
    this.server = server;
    this.stream = new FrameStream(fd);
  }

  /** Serves until the service lets the device end; no session is left then. One thread. */
  @Override
  public void run() {
    stream.send(
        new ServiceFrame.Started(
            device.kernelKind(),
            device.release(),
            device.system(),
            device.bootTime().toNanos() / 1000,
            device.notices()));
    String why = null;
    while (why == null) {
      why =
          switch (stream.receive(-1)) {
            case Decoded.Received(Frame frame) -> handle(frame);
            case Decoded.Malformed(String what) -> fails(what);
            case Decoded.Ended(String what) -> what;
          };
    }
    server.awaitNone();
    awaitCarriers();
    stream.close();
  }

  /** The service is not to send what nobody reads. */
  private String fails(String why) {
    server.log("the control link fails: " + why);
    stream.stop();
    return why;
  }

  /** Null, or why no more is to be expected. */
  private @Nullable String handle(Frame frame) {
    switch (frame) {
      case ServiceFrame.Serve(long id) -> {
        int fd = stream.takeDescriptor();
        if (fd < 0) {
          return fails("a session came without its link");
        }
        serve(id, fd);
      }
      case ServiceFrame.Carry f -> {
        int fd = stream.takeDescriptor();
        if (fd < 0) {
          return fails("a session came without its connection");
        }
        carry(f, fd);
      }
      case ServiceFrame.End(long id) -> {
        CarriedSession session;
        synchronized (this) {
          session = carried.get(id);
        }
        if (session != null) {
          session.close();
        }
      }
      case ServiceFrame.StatusRequest(long id) -> stream.send(status(id));
      case Frame.Bye(String why) -> {
        server.stopAll();
        parting = true;
        return why;
      }
      case Frame.Unknown f -> {}
      default -> {
        return fails(frame.getClass().getSimpleName() + " is not for a kernel's process");
      }
    }
    return null;
  }

  private ServiceFrame.KernelStatus status(long id) {
    return new ServiceFrame.KernelStatus(
        id,
        "",
        Processes.getpid(),
        device.kernelKind(),
        device.release(),
        TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began),
        residentBytes(),
        0,
        cpuNanos(),
        0,
        server.status());
  }

  /** {@code proc_pid_status(5)}, which counts in KiB and not in pages of the machine. */
  private static long residentBytes() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("VmRSS:")) {
          return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
        }
      }
    } catch (IOException e) {
      // as below
    }
    return 0;
  }

  private static long cpuNanos() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment time = arena.allocate(16, 8);
      Linux.syscall(SyscallNumbers.CLOCK_GETTIME, CLOCK_PROCESS_CPUTIME_ID, time.address(), 0);
      return time.get(ValueLayout.JAVA_LONG, 0) * 1_000_000_000L
          + time.get(ValueLayout.JAVA_LONG, 8);
    }
  }

  private void serve(long id, int fd) {
    try {
      server.serve(fd, id, why -> stream.send(new ServiceFrame.SessionEnded(id, why)), null);
    } catch (DeviceException e) {
      stream.send(new ServiceFrame.SessionEnded(id, String.valueOf(e.getMessage())));
    }
  }

  private void carry(ServiceFrame.Carry f, int fd) {
    CarriedSession session;
    synchronized (this) {
      session = carried.get(f.id());
      if (session == null && f.first()) {
        session =
            new CarriedSession(
                Duration.ofMillis(f.patienceMillis()),
                line -> stream.send(new ServiceFrame.Said(f.id(), line)));
        carried.put(f.id(), session);
      }
    }
    if (session == null) {
      Linux.close(fd); // of one that has ended meanwhile
      return;
    }
    session.connect(fd, f.ownKey(), f.hostKey());
    if (f.first()) {
      CarriedSession begun = session;
      Thread.ofPlatform().daemon().name("carrier-" + f.id()).start(() -> carry(f.id(), begun));
    }
  }

  private void carry(long id, CarriedSession session) {
    String why = "the device fails";
    try {
      why = carried(id, session);
    } catch (RuntimeException e) {
      server.log("the link of session " + id + " fails: " + e);
    } finally {
      session.close();
      stream.send(new ServiceFrame.SessionEnded(id, why));
      synchronized (this) {
        carried.remove(id);
        notifyAll();
      }
    }
  }

  /** From the first connection to the session's end; why it has ended. */
  private String carried(long id, CarriedSession session) {
    Wire wire;
    try {
      wire = session.begin();
    } catch (IOException e) {
      return String.valueOf(e.getMessage());
    }
    SocketPair link = SocketPair.open();
    if (link.error() < 0) {
      wire.close();
      return "there is no link for it: " + Errno.name(-link.error());
    }
    DeviceRelay relay = new DeviceRelay(wire, link.other());
    Thread served = null;
    try {
      served = server.serve(link.one(), id, why -> {}, relay);
    } catch (DeviceException e) {
      // The relay finds its link closed, and says so.
      server.log("session " + id + ": " + e.getMessage());
    }
    String why = relay.serve();
    if (served != null) {
      Threads.join(served);
    }
    return why;
  }

  /** Waits until hosts know that their sessions have ended; not long if the service ends. */
  private synchronized void awaitCarriers() {
    if (!parting) {
      Uninterrupted.waitUntil(this, carried::isEmpty);
    } else if (!Uninterrupted.waitUntil(this, PARTING_NANOS, carried::isEmpty)) {
      List.copyOf(carried.values()).forEach(CarriedSession::close);
    }
  }
}
