// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** What a failed trial leaves under {@code target/evidence}. */
final class Evidence {
  private static final int TAIL_CHARACTERS = 4000;
  private static final long TOOL_SECONDS = 15;

  private Evidence() {}

  /** The end of a text, where an error is. */
  static String tail(String text) {
    return text.length() <= TAIL_CHARACTERS
        ? text
        : "[…]" + text.substring(text.length() - TAIL_CHARACTERS);
  }

  /**
   * Copies the trial's files and asks each live process what it does: Java processes for their
   * threads, all for what {@code /proc} knows; and the machine for its kernel log.
   *
   * @return the directory of the evidence
   */
  static Path collect(String name, Path trial, List<Long> processes, Throwable why) {
    Path to = Programs.buildDirectory().resolve("evidence").resolve(name);
    try {
      if (Files.exists(to)) {
        TestFiles.deleteTree(to);
      }
      Files.createDirectories(to);
      StringWriter text = new StringWriter();
      why.printStackTrace(new PrintWriter(text, true));
      Files.writeString(to.resolve("failure"), text.toString());
      for (long pid : processes) {
        Files.writeString(to.resolve("process-" + pid), describe(pid));
        if (ProcFile.read(pid, "comm").startsWith("java")) {
          capture(to.resolve("threads-" + pid), jcmd(), Long.toString(pid), "Thread.print");
        }
      }
      capture(to.resolve("kernel-log"), "sh", "-c", "dmesg | tail -n 100");
      TestFiles.copyTree(trial, to.resolve("files"));
    } catch (IOException | RuntimeException e) {
      why.addSuppressed(e);
    }
    return to;
  }

  private static String jcmd() {
    return Path.of(System.getProperty("java.home"), "bin", "jcmd").toString();
  }

  private static String describe(long pid) {
    StringBuilder text = new StringBuilder(ProcFile.commandLine(pid)).append('\n');
    text.append(ProcFile.read(pid, "status"));
    ProcFile.descriptorTargets(pid).forEach(fd -> text.append(fd).append('\n'));
    try (var tasks = Files.list(Path.of("/proc/" + pid + "/task"))) {
      tasks
          .map(t -> t.getFileName().toString())
          .forEach(tid ->
              text.append("thread ")
                  .append(tid)
                  .append(' ')
                  .append(ProcFile.read(pid, "task/" + tid + "/comm").strip())
                  .append(" in ")
                  .append(ProcFile.read(pid, "task/" + tid + "/wchan").strip())
                  .append(" syscall ")
                  .append(ProcFile.read(pid, "task/" + tid + "/syscall").strip())
                  .append('\n'));
    } catch (IOException e) {
      text.append("gone meanwhile\n");
    }
    return text.toString();
  }

  private static void capture(Path to, String... command) throws IOException {
    Process p =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(to.toFile()).start();
    try {
      if (!p.waitFor(TOOL_SECONDS, TimeUnit.SECONDS)) {
        p.destroyForcibly();
      }
    } catch (InterruptedException e) {
      p.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
