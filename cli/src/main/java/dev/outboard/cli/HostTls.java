// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Whether this machine's own kernel has kernel TLS. */
enum HostTls {
  READY("a feature your host kernel has, too"),
  NOT_LOADED("a feature your host kernel has in a module that is not loaded"),
  LACKING("a feature your host kernel does not have"),
  UNKNOWN("whether your host kernel can is not known");

  private static final String UPPER_PROTOCOL = "tls";
  private static final String MODULE = "/" + UPPER_PROTOCOL + ".ko";

  private final String words;

  HostTls(String words) {
    this.words = words;
  }

  /** For people: what kernel TLS is to the host. */
  String words() {
    return words;
  }

  /** Finds out, and loads no module. */
  static HostTls find() {
    // Made by the code itself, in each network namespace.
    if (Files.exists(Path.of("/proc/net/tls_stat"))) {
      return READY;
    }
    // Before the question, which has the kernel load the module if root asks it.
    if (isModule()) {
      return NOT_LOADED;
    }
    long fd = Linux.socket(Socket.AF_INET, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    if (fd < 0) {
      return UNKNOWN;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = Linux.cString(arena, UPPER_PROTOCOL);
      return answered(
          Linux.setsockopt(
              (int) fd,
              Socket.IPPROTO_TCP,
              Socket.TCP_ULP,
              name.address(),
              UPPER_PROTOCOL.length()));
    } finally {
      Linux.close((int) fd);
    }
  }

  /** What it means that a socket without a connection was given TLS, with this result. */
  static HostTls answered(long result) {
    if (result == -Errno.ENOENT || result == -Errno.ENOPROTOOPT) {
      return LACKING;
    }
    // It is for connections alone; whoever says so is there.
    return result == 0 || result == -Errno.ENOTCONN ? READY : UNKNOWN;
  }

  private static boolean isModule() {
    Path list = Path.of("/lib/modules", Versions.hostRelease(), "modules.dep");
    try (Stream<String> lines = Files.lines(list)) {
      return lines.anyMatch(l -> l.substring(0, Math.max(0, l.indexOf(':'))).contains(MODULE));
    } catch (IOException e) {
      return false;
    }
  }
}
