// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Landlock;
import dev.outboard.posix.Linux;
import dev.outboard.relay.OpenSsl;
import dev.outboard.service.Service;
import dev.outboard.service.ServiceException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * What this machine offers: looks, and changes nothing. The TAP that is made to see whether one may
 * be made goes with its descriptor.
 */
final class Machine {
  private static final int HOST_MAJOR = 5;
  private static final int HOST_MINOR = 19;

  private static final int SECCOMP_SET_MODE_FILTER = 1;
  private static final int SECCOMP_GET_ACTION_AVAIL = 2;
  private static final int SECCOMP_RET_USER_NOTIF = 0x7fc00000;
  private static final int FILTER_FLAGS_NEEDED = 8 | 32; // NEW_LISTENER | WAIT_KILLABLE_RECV

  private static final int TUNSETIFF = 0x400454ca;
  private static final int IFREQ_BYTES = 40;
  private static final int IFREQ_FLAGS = 16;
  private static final short IFF_TAP_NO_PI_VNET_HDR = 0x0002 | 0x1000 | 0x4000;

  private static final int CAP_SYS_PTRACE = 19;

  private Machine() {}

  /** Everything, the most basic first. */
  static List<Finding> examine() {
    List<Finding> findings = new ArrayList<>();
    findings.add(hostKernel());
    findings.add(seccomp());
    findings.add(programMemory());
    findings.add(java());
    findings.add(libraryKernel());
    findings.add(fastStart());
    findings.add(passt());
    findings.add(tap());
    findings.add(openSsl());
    findings.add(cpuOfSessions());
    findings.add(filesOfService());
    return findings;
  }

  private static Finding openSsl() {
    String what = "links by tcp:";
    return OpenSsl.missing() == null
        ? Finding.ok(what, OpenSsl.version())
        : Finding.note(what, "OpenSSL 3 is not there", "apt-get install openssl");
  }

  private static Finding hostKernel() {
    String release = Versions.hostRelease();
    String architecture = System.getProperty("os.arch", "unknown");
    if (!architecture.equals("amd64")) {
      return Finding.lacks("host kernel", release + " on " + architecture, "use an x86-64 machine");
    }
    return atLeast(release, HOST_MAJOR, HOST_MINOR)
        ? Finding.ok("host kernel", "Linux " + release)
        : Finding.lacks(
            "host kernel",
            "Linux " + release + "; the hook needs 5.19 or newer",
            "apt-get install -t bookworm-backports linux-image-amd64, or any newer kernel");
  }

  /** Whether {@code release} (as in {@code uname -r}) is of version major.minor or later. */
  static boolean atLeast(String release, int major, int minor) {
    String[] parts = release.split("[^0-9]+", 3);
    try {
      int theirs = Integer.parseInt(parts[0]);
      return theirs > major
          || (theirs == major && parts.length > 1 && Integer.parseInt(parts[1]) >= minor);
    } catch (NumberFormatException e) {
      return false;
    }
  }

  private static Finding seccomp() {
    String what = "seccomp notifier";
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment action = arena.allocate(ValueLayout.JAVA_INT);
      action.set(ValueLayout.JAVA_INT, 0, SECCOMP_RET_USER_NOTIF);
      long available =
          Linux.syscall(SyscallNumbers.SECCOMP, SECCOMP_GET_ACTION_AVAIL, 0, action.address());
      // Without a filter a call with good flags fails at the missing filter, else at the flags.
      long flags =
          Linux.syscall(SyscallNumbers.SECCOMP, SECCOMP_SET_MODE_FILTER, FILTER_FLAGS_NEEDED, 0);
      if (available == 0 && flags == -Errno.EFAULT) {
        return Finding.ok(what, "with killable waits");
      }
      return Finding.lacks(
          what,
          "seccomp(2) says " + Errno.name((int) -(available != 0 ? available : flags)),
          "in a container, allow the seccomp system call (docker: --security-opt"
              + " seccomp=unconfined); elsewhere, a kernel with CONFIG_SECCOMP_FILTER");
    }
  }

  /** Whether the hook may read the memory of its program: Yama can forbid even that of a child. */
  private static Finding programMemory() {
    String what = "program's memory";
    int scope = firstLine("/proc/sys/kernel/yama/ptrace_scope").map(Integer::parseInt).orElse(0);
    if (scope <= 1 || (scope == 2 && hasCapability(CAP_SYS_PTRACE))) {
      return Finding.ok(what, "readable (ptrace_scope " + scope + ")");
    }
    return Finding.lacks(
        what,
        "not readable (ptrace_scope " + scope + ")",
        scope == 2
            ? "run as root, or sysctl kernel.yama.ptrace_scope=1"
            : "boot with kernel.yama.ptrace_scope=1: 3 cannot be undone");
  }

  private static Finding java() {
    int feature = Runtime.version().feature();
    return feature >= 25
        ? Finding.ok("Java", Runtime.version().toString())
        : Finding.lacks("Java", Runtime.version().toString(), "set JAVA_HOME to a JDK 25");
  }

  private static Finding libraryKernel() {
    Optional<Path> path = Versions.libraryKernel();
    return path.isPresent()
        ? Finding.ok(
            "library kernel",
            "Linux " + Versions.libraryRelease().orElse("(unknown version)") + ", " + path.get())
        : Finding.lacks("library kernel", "not built", "run kernel/build");
  }

  private static Finding fastStart() {
    boolean cached =
        ProcessHandle.current().info().arguments().stream()
            .flatMap(Arrays::stream)
            .anyMatch(a -> a.startsWith("-XX:AOTCache="));
    return cached
        ? Finding.ok("fast start", "AOT cache in use")
        : Finding.note(
            "fast start", "no AOT cache: each start takes longer", "run any program by ./outboard");
  }

  private static Finding passt() {
    Optional<Path> program = inPath("passt");
    if (program.isEmpty()) {
      return Finding.note(
          "network: passt",
          "not installed: without --net tap or none, run fails",
          "apt-get install passt");
    }
    return Finding.ok("network: passt", program.get().toString());
  }

  /** Whether this process may make a TAP interface. */
  static boolean mayMakeTap() {
    return tap().level() == Finding.Level.OK;
  }

  private static Finding tap() {
    String what = "network: TAP";
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment path = Linux.cString(arena, "/dev/net/tun");
      long fd =
          Linux.syscall(
              SyscallNumbers.OPENAT,
              Fcntl.AT_FDCWD,
              path.address(),
              Fcntl.O_RDWR | Fcntl.O_CLOEXEC,
              0,
              0,
              0);
      if (fd < 0) {
        return Finding.note(
            what,
            "/dev/net/tun: " + Errno.name((int) -fd),
            fd == -Errno.ENOENT
                ? "modprobe tun; in a container: --device /dev/net/tun"
                : "run as root to use --net tap");
      }
      MemorySegment request = arena.allocate(IFREQ_BYTES);
      request.setString(0, "obcheck%d");
      request.set(ValueLayout.JAVA_SHORT, IFREQ_FLAGS, IFF_TAP_NO_PI_VNET_HDR);
      long r = Linux.ioctl((int) fd, TUNSETIFF, request.address());
      Linux.close((int) fd);
      return r == 0
          ? Finding.ok(what, "may be made")
          : Finding.note(
              what,
              "may not be made: " + Errno.name((int) -r),
              "run as root, or in a container with --cap-add NET_ADMIN, to use --net tap");
    }
  }

  /** Whether a service that is started as this process was could share out CPU time. */
  private static Finding cpuOfSessions() {
    String what = "service: CPU";
    try {
      return Finding.ok(what, "control groups in " + Service.controlGroups());
    } catch (ServiceException e) {
      return Finding.note(
          what, "shared as any processes do: " + e.getMessage(), Service.GROUPS_ADVICE);
    }
  }

  /** Whether a service without passt opens nothing but what it needs. */
  private static Finding filesOfService() {
    String what = "service: files";
    int version = Landlock.version();
    return version > 0
        ? Finding.ok(what, "confined by Landlock, version " + version + ", but with passt")
        : Finding.note(
            what,
            "not confined: the kernel has no Landlock",
            "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in lsm= where it is booted");
  }

  static Optional<Path> inPath(String program) {
    String path = System.getenv().getOrDefault("PATH", "/usr/local/bin:/usr/bin:/bin");
    return List.of(path.split(":")).stream()
        .map(d -> Path.of(d, program))
        .filter(Files::isExecutable)
        .findFirst();
  }

  private static boolean hasCapability(int capability) {
    try {
      return Files.readAllLines(Path.of("/proc/self/status")).stream()
          .filter(l -> l.startsWith("CapEff:"))
          .map(l -> Long.parseUnsignedLong(l.substring("CapEff:".length()).strip(), 16))
          .anyMatch(mask -> (mask >> capability & 1) != 0);
    } catch (IOException e) {
      return false;
    }
  }

  /** The first line of a file, without spaces at its ends; nothing if it cannot be read. */
  static Optional<String> firstLine(String path) {
    try {
      return Files.readAllLines(Path.of(path)).stream().findFirst().map(String::strip);
    } catch (IOException e) {
      return Optional.empty();
    }
  }
}
