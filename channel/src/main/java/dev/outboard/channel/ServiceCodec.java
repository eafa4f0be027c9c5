// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** The bodies of {@link ServiceFrame}s, in the terms of {@link FrameCodec}. */
final class ServiceCodec {
  private static final int JOIN = 32;
  private static final int SERVE = 33;
  private static final int STARTED = 34;
  private static final int SESSION_ENDED = 35;
  private static final int STATUS_REQUEST = 36;
  private static final int SERVICE_STATUS = 37;
  private static final int KERNEL_STATUS = 38;
  private static final int NAMED = 39;
  private static final int CARRY = 40;
  private static final int END = 41;
  private static final int SAID = 42;

  /** A key of P-256 is shorter, also a private one. */
  private static final int MAX_KEY = 1024;

  private static final int ONE_KERNEL = 1;
  private static final int DRAINING = 2;
  private static final int OWN_ONLY = 4;
  private static final int MAX_NOTICES = 16;

  /** The kernel's own limit is 15. */
  private static final int MAX_NAME = 64;

  private ServiceCodec() {}

  /** Whether a frame of that kind is decoded here. */
  static boolean knows(int kind) {
    return kind >= JOIN && kind <= SAID;
  }

  /** Whether a visitor of a service begins with it, before a session or without one. */
  static boolean opens(int kind) {
    return kind == JOIN || kind == STATUS_REQUEST;
  }

  /** Writes a frame's body; returns its kind. */
  static int encode(ServiceFrame frame, ByteBuffer to) {
    return switch (frame) {
      case ServiceFrame.Join f -> {
        FrameCodec.putString(to, f.name());
        yield JOIN;
      }
      case ServiceFrame.Named f -> {
        to.putInt(f.pid());
        FrameCodec.putString(to, f.name());
        yield NAMED;
      }
      case ServiceFrame.Serve f -> {
        to.putLong(f.id());
        yield SERVE;
      }
      case ServiceFrame.Carry f -> {
        to.putLong(f.id()).putLong(f.patienceMillis()).putInt(f.first() ? 1 : 0);
        FrameCodec.putString(to, f.ownKey());
        FrameCodec.putString(to, f.hostKey());
        yield CARRY;
      }
      case ServiceFrame.End f -> {
        to.putLong(f.id());
        yield END;
      }
      case ServiceFrame.Said f -> {
        to.putLong(f.id());
        FrameCodec.putString(to, f.line());
        yield SAID;
      }
      case ServiceFrame.Started f -> {
        if (f.notices().size() > MAX_NOTICES) {
          throw new IllegalArgumentException("more than " + MAX_NOTICES + " notices");
        }
        to.putLong(f.bootMicros()).putInt(f.notices().size());
        FrameCodec.putString(to, f.kernel());
        FrameCodec.putString(to, f.release());
        FrameCodec.putString(to, f.system());
        f.notices().forEach(line -> FrameCodec.putString(to, line));
        yield STARTED;
      }
      case ServiceFrame.SessionEnded f -> {
        to.putLong(f.id());
        FrameCodec.putString(to, f.why());
        yield SESSION_ENDED;
      }
      case ServiceFrame.StatusRequest f -> {
        to.putLong(f.id());
        yield STATUS_REQUEST;
      }
      case ServiceFrame.ServiceStatus f -> {
        to.putInt(f.pid()).putInt(f.maxSessions());
        to.putInt(
            (f.oneKernel() ? ONE_KERNEL : 0)
                | (f.draining() ? DRAINING : 0)
                | (f.ownOnly() ? OWN_ONLY : 0));
        to.putInt(f.kernels());
        to.putLong(f.ageMillis()).putLong(f.sessions()).putLong(f.refused()).putLong(f.died());
        FrameCodec.putString(to, f.version());
        FrameCodec.putString(to, f.cpu());
        yield SERVICE_STATUS;
      }
      case ServiceFrame.KernelStatus f -> {
        putKernel(to, f);
        yield KERNEL_STATUS;
      }
    };
  }

  private static void putKernel(ByteBuffer to, ServiceFrame.KernelStatus f) {
    if (f.sessions().size() > ServiceFrame.KernelStatus.MAX_SESSIONS) {
      throw new IllegalArgumentException("too many sessions");
    }
    to.putLong(f.id()).putLong(f.ageMillis()).putLong(f.rssBytes());
    to.putLong(f.cpuNanos()).putLong(f.throttledNanos());
    to.putInt(f.pid()).putInt(f.cpuPercent()).putInt(f.sessions().size());
    FrameCodec.putString(to, f.name());
    FrameCodec.putString(to, f.kernel());
    FrameCodec.putString(to, f.release());
    for (ServiceFrame.SessionStatus s : f.sessions()) {
      if (s.programs().size() > ServiceFrame.SessionStatus.MAX_PROGRAMS) {
        throw new IllegalArgumentException("too many programs");
      }
      to.putLong(s.id()).putLong(s.ageMillis()).putLong(s.calls());
      to.putLong(s.medianNanos()).putLong(s.p99Nanos());
      to.putLong(s.bytesIn()).putLong(s.bytesOut());
      to.putLong(s.memoryBytes()).putLong(s.memoryLimitBytes());
      to.putInt(s.threads()).putInt(s.handles()).putInt(s.programs().size());
      FrameCodec.putString(to, s.client());
      for (ServiceFrame.Program p : s.programs()) {
        to.putInt(p.pid()).putInt(p.uid());
        FrameCodec.putString(to, p.name());
      }
    }
  }

  /** Reads a body; {@code in.good} says whether it is one. */
  static Frame decode(int kind, FrameCodec.Reader in) {
    return switch (kind) {
      case JOIN -> {
        String name = in.string();
        in.good &= ServiceFrame.validName(name);
        yield new ServiceFrame.Join(name);
      }
      case NAMED -> {
        int pid = in.i32();
        String name = in.string();
        in.good &= name.length() <= MAX_NAME;
        yield new ServiceFrame.Named(pid, name);
      }
      case SERVE -> new ServiceFrame.Serve(in.u64());
      case CARRY -> carry(in);
      case END -> new ServiceFrame.End(in.u64());
      case SAID -> new ServiceFrame.Said(in.u64(), in.string());
      case STARTED -> started(in);
      case SESSION_ENDED -> new ServiceFrame.SessionEnded(in.u64(), in.string());
      case STATUS_REQUEST -> new ServiceFrame.StatusRequest(in.u64());
      case SERVICE_STATUS -> service(in);
      default -> kernel(in);
    };
  }

  private static Frame carry(FrameCodec.Reader in) {
    long id = in.u64();
    long patience = in.u64();
    int first = in.i32();
    String own = in.string();
    String host = in.string();
    in.good &= patience >= 0 && (first & ~1) == 0;
    in.good &= own.length() <= MAX_KEY && host.length() <= MAX_KEY;
    return new ServiceFrame.Carry(id, first != 0, patience, own, host);
  }

  private static Frame started(FrameCodec.Reader in) {
    long micros = in.u64();
    int count = in.i32();
    String kernel = in.string();
    String release = in.string();
    String system = in.string();
    in.good &= count >= 0 && count <= MAX_NOTICES;
    List<String> notices = new ArrayList<>();
    for (int i = 0; in.good && i < count; i++) {
      notices.add(in.string());
    }
    return new ServiceFrame.Started(kernel, release, system, micros, notices);
  }

  private static Frame service(FrameCodec.Reader in) {
    int pid = in.i32();
    int maxSessions = in.i32();
    int flags = in.i32();
    int kernels = in.i32();
    long age = in.u64();
    long sessions = in.u64();
    long refused = in.u64();
    long died = in.u64();
    in.good &= (flags & ~(ONE_KERNEL | DRAINING | OWN_ONLY)) == 0;
    in.good &= kernels >= 0 && kernels <= ServiceFrame.ServiceStatus.MAX_KERNELS;
    return new ServiceFrame.ServiceStatus(
        in.string(),
        pid,
        age,
        maxSessions,
        (flags & ONE_KERNEL) != 0,
        (flags & DRAINING) != 0,
        (flags & OWN_ONLY) != 0,
        kernels,
        sessions,
        refused,
        died,
        in.string());
  }

  private static Frame kernel(FrameCodec.Reader in) {
    long id = in.u64();
    long age = in.u64();
    long rss = in.u64();
    long cpu = in.u64();
    long throttled = in.u64();
    int pid = in.i32();
    int percent = in.i32();
    int count = in.i32();
    String name = in.string();
    String kernel = in.string();
    String release = in.string();
    in.good &= count >= 0 && count <= ServiceFrame.KernelStatus.MAX_SESSIONS;
    List<ServiceFrame.SessionStatus> sessions = new ArrayList<>();
    for (int i = 0; in.good && i < count; i++) {
      sessions.add(session(in));
    }
    return new ServiceFrame.KernelStatus(
        id, name, pid, kernel, release, age, rss, percent, cpu, throttled, sessions);
  }

  private static ServiceFrame.SessionStatus session(FrameCodec.Reader in) {
    long id = in.u64();
    long age = in.u64();
    long calls = in.u64();
    long median = in.u64();
    long p99 = in.u64();
    long bytesIn = in.u64();
    long bytesOut = in.u64();
    long memory = in.u64();
    long memoryLimit = in.u64();
    int threads = in.i32();
    int handles = in.i32();
    int count = in.i32();
    String client = in.string();
    in.good &= count >= 0 && count <= ServiceFrame.SessionStatus.MAX_PROGRAMS;
    List<ServiceFrame.Program> programs = new ArrayList<>();
    for (int i = 0; in.good && i < count; i++) {
      programs.add(new ServiceFrame.Program(in.i32(), in.i32(), in.string()));
    }
    return new ServiceFrame.SessionStatus(
        id,
        client,
        age,
        calls,
        median,
        p99,
        bytesIn,
        bytesOut,
        memory,
        memoryLimit,
        threads,
        handles,
        programs);
  }
}
