// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.util.List;

/**
 * Messages of a service, which has many kernels: with its visitors, before a session begins, and
 * with the kernels' processes. No session carries them, but for {@link Named}.
 *
 * <p>{@code docs/protocol.md} says what they mean; {@link ServiceCodec} has their layouts.
 */
public sealed interface ServiceFrame extends Frame {
  /**
   * Host to service, before {@link Frame.Hello}: the session is to be on the kernel of that name,
   * which others share. Without this frame it gets a kernel of its own.
   *
   * @param name {@link #validName}
   */
  record Join(String name) implements ServiceFrame {}

  /**
   * Host to device, in a session: what a process of the program is called, for those who ask what
   * runs here. Nothing depends on it.
   */
  record Named(int pid, String name) implements ServiceFrame {}

  /** Service to kernel: serve the session whose link comes with this frame. */
  record Serve(long id) implements ServiceFrame {}

  /**
   * Service to kernel: a session of a host that comes by TCP begins, or goes on, with the
   * connection that comes with this frame.
   *
   * @param first whether it begins; otherwise it may have ended meanwhile
   * @param patienceMillis how long it is kept without a connection
   * @param ownKey what TLS on the connection shows, a private key as PKCS #8 in Base64
   * @param hostKey whom it accepts, a public key as SubjectPublicKeyInfo in Base64
   */
  record Carry(long id, boolean first, long patienceMillis, String ownKey, String hostKey)
      implements ServiceFrame {
    @Override
    public String toString() {
      return "Carry[id=" + id + ", first=" + first + "]"; // Keys are in no log.
    }
  }

  /** Service to kernel: that session, which it carries, is to end. */
  record End(long id) implements ServiceFrame {}

  /** Kernel to service: how the link of a session fares that it carries, as a line for a log. */
  record Said(long id, String line) implements ServiceFrame {}

  /** Kernel to service, first: it has booted. */
  record Started(
      String kernel, String release, String system, long bootMicros, List<String> notices)
      implements ServiceFrame {
    public Started {
      notices = List.copyOf(notices);
    }
  }

  /** Kernel to service: that session is over, and what it had is taken back. */
  record SessionEnded(long id, String why) implements ServiceFrame {}

  /** Visitor to service, first; service to kernel: what there is. */
  record StatusRequest(long id) implements ServiceFrame {}

  /**
   * Service to visitor: the service itself; as many {@link KernelStatus} as it says follow.
   *
   * @param version outboard's
   * @param pid its process
   * @param ageMillis how long it has been there
   * @param maxSessions sessions that it serves at a time at most
   * @param oneKernel all sessions share one kernel
   * @param draining it takes no new sessions
   * @param ownOnly it tells who asks of its own sessions alone, here and in what follows
   * @param kernels kernel processes that it tells of, {@link #MAX_KERNELS} at most
   * @param sessions sessions so far
   * @param refused connections so far that got nothing
   * @param died kernels so far that ended before their sessions
   * @param cpu how its kernels share CPU time, for people
   */
  record ServiceStatus(
      String version,
      int pid,
      long ageMillis,
      int maxSessions,
      boolean oneKernel,
      boolean draining,
      boolean ownOnly,
      int kernels,
      long sessions,
      long refused,
      long died,
      String cpu)
      implements ServiceFrame {
    /** More kernels has no service. */
    public static final int MAX_KERNELS = 1024;
  }

  /**
   * Kernel to service to visitor: a kernel and its sessions.
   *
   * @param id the request's
   * @param name what sessions call it that share it; empty if none may
   * @param pid its process
   * @param kernel {@code library} or {@code host}
   * @param release its {@code uname -r}
   * @param ageMillis since it has booted
   * @param rssBytes memory of its process that is in use
   * @param cpuPercent what it gets of a processor at most; 0: no limit. The service's word, as the
   *     next two where it knows better than the kernel's process
   * @param cpuNanos CPU time so far, of its process or its control group
   * @param throttledNanos how long its threads were kept from running by that limit so far
   */
  record KernelStatus(
      long id,
      String name,
      int pid,
      String kernel,
      String release,
      long ageMillis,
      long rssBytes,
      int cpuPercent,
      long cpuNanos,
      long throttledNanos,
      List<SessionStatus> sessions)
      implements ServiceFrame {
    /** As many sessions as one of these tells of. */
    public static final int MAX_SESSIONS = 16;

    public KernelStatus {
      sessions = List.copyOf(sessions);
    }

    /** The same as the answer to another request. */
    public KernelStatus answering(long request) {
      return new KernelStatus(
          request,
          name,
          pid,
          kernel,
          release,
          ageMillis,
          rssBytes,
          cpuPercent,
          cpuNanos,
          throttledNanos,
          sessions);
    }

    /** The same kernel by what the service knows of it. */
    public KernelStatus describedBy(
        String newName, int newPercent, long newNanos, long newThrottledNanos) {
      return new KernelStatus(
          id,
          newName,
          pid,
          kernel,
          release,
          ageMillis,
          rssBytes,
          newPercent,
          newNanos,
          newThrottledNanos,
          sessions);
    }
  }

  /**
   * A session.
   *
   * @param id the service's number of it
   * @param client what the host calls itself
   * @param ageMillis since it began
   * @param calls that the kernel has carried out
   * @param medianNanos half of them took no longer on the device, waiting included; 0 without any
   * @param p99Nanos 99 of 100, likewise
   * @param bytesIn that the program has sent or written by them
   * @param bytesOut that it has received or read
   * @param memoryBytes of the kernel's memory that are in use for it; 0 if that is not counted
   * @param memoryLimitBytes how much of it may be; 0: no limit of its own
   * @param threads of the program that make calls
   * @param handles open descriptors
   * @param programs its processes, {@link #MAX_PROGRAMS} at most
   */
  record SessionStatus(
      long id,
      String client,
      long ageMillis,
      long calls,
      long medianNanos,
      long p99Nanos,
      long bytesIn,
      long bytesOut,
      long memoryBytes,
      long memoryLimitBytes,
      int threads,
      int handles,
      List<Program> programs) {
    /** As many processes as one of these tells of. */
    public static final int MAX_PROGRAMS = 32;

    /** What it tells of a host's name for itself, in characters. */
    public static final int MAX_CLIENT = 64;

    /** The same by another number. */
    public SessionStatus numbered(long number) {
      return new SessionStatus(
          number,
          client,
          ageMillis,
          calls,
          medianNanos,
          p99Nanos,
          bytesIn,
          bytesOut,
          memoryBytes,
          memoryLimitBytes,
          threads,
          handles,
          programs);
    }

    public SessionStatus {
      programs = List.copyOf(programs);
    }
  }

  /**
   * A process of a session's program.
   *
   * @param pid on the host
   * @param uid its effective user there
   * @param name its command name, as far as the host has said it
   */
  record Program(int pid, int uid, String name) {
    /** What is told of a name, in characters; the kernel's own limit is 15. */
    public static final int MAX_NAME = 16;
  }

  /** Whether a kernel may be called so: 1 to 64 letters, digits, dots, dashes and underscores. */
  static boolean validName(String name) {
    return name.matches("[A-Za-z0-9._-]{1,64}");
  }
}
