// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The machine that the tests run on, outside of any trial. */
final class Machine {
  private Machine() {}

  /** Whether the tests run as root, and so may make links and namespaces. */
  static boolean root() {
    return "root".equals(System.getProperty("user.name"));
  }

  /** Runs a short command of the harness itself; its output, or a failure with it. */
  static String command(String... words) {
    return command(Duration.ofSeconds(20), words);
  }

  /** The same with a time limit of its own. */
  static String command(Duration limit, String... words) {
    return command(limit, "", words);
  }

  /** The same with {@code input} at its standard input. */
  static String feed(String input, String... words) {
    return command(Duration.ofSeconds(20), input, words);
  }

  private static String command(Duration limit, String input, String... words) {
    try {
      Process p = new ProcessBuilder(words).redirectErrorStream(true).start();
      try (OutputStream in = p.getOutputStream()) {
        in.write(input.getBytes(StandardCharsets.UTF_8));
      }
      String said = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (!p.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS) || p.exitValue() != 0) {
        p.destroyForcibly();
        throw new AssertionError(List.of(words) + " failed: " + said);
      }
      return said;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }

  /** Whether the machine has a link of this name in the tests' own namespace. */
  static boolean hasLink(String name) {
    return Files.exists(Path.of("/sys/class/net", name));
  }

  /** A TCP port that nothing on the machine's loopback uses at the moment. */
  static int freePort() {
    try (ServerSocket s = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return s.getLocalPort();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
