// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.ProcFile;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** Ends of all kinds: of the device, the hook, the command and the program. */
class LifetimeTest {
  private static final String DEVICE_THREADS = "device threads";

  /** MAX_SLOTS of the shim. */
  private static final int SLOTS_OF_A_PROCESS = 16;

  private static final Duration LIMIT = Duration.ofSeconds(30);

  /** How soon a call on a device fd must fail when the device is gone. */
  private static final Duration LOSS = Duration.ofSeconds(2);

  /** Threads that a JVM has for itself: they come and go as it pleases. */
  private static final Pattern JVMS_OWN =
      Pattern.compile(
          "java|C[12] CompilerThre|GC Thread.*|VM .*|G1 .*|Common-Cleaner|Reference Handl"
              + "|Finalizer|Signal Dispatch|Service Thread|Monitor Deflati|Notification Th"
              + "|Attach Listener|process reaper|Cleaner-.*");

  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void aKilledDeviceIsAnErrnoAndNothingElse(Trial trial) {
    try (Running program = trial.program(Programs.PYTHON, Programs.python("survivor")).start()) {
      program.awaitOutput(LIMIT, "ready");
      Eventually.pause(300); // all five calls are blocked by now
      Trial.signal(trial.device(), "KILL");
      long killed = System.nanoTime();
      for (String call : List.of("recv", "accept", "read")) {
        program.awaitOutput(LOSS, call + " failed with ENETDOWN");
      }
      program.awaitOutput(LOSS, "^epoll returned woken");
      program.awaitOutput(LOSS, "^poll returned woken");
      assertThat(Duration.ofNanos(System.nanoTime() - killed)).isLessThan(LOSS);
      program.type("go on\n");
      Finished done = program.await(LIMIT).expectSuccess();
      assertThat(done.output())
          .contains(
              "later send failed with ENETDOWN",
              "later recv failed with ENETDOWN",
              "later socket failed with ENETDOWN",
              "later getsockname failed with ENETDOWN",
              "the pipe says still her",
              "close: None",
              "alive");
      assertThat(done.errors().lines()).hasSize(1).allMatch(line -> line.contains("device"));
    }
  }

  @Scenario(
      modes = {Mode.LIBRARY, Mode.HOST},
      link = Link.TO_MACHINE)
  void aKilledCommandLeavesNothingBehind(Trial trial) {
    Running command = tree(trial);
    command.signal("KILL");
    gone(trial);
  }

  @Scenario(
      modes = {Mode.LIBRARY, Mode.HOST},
      link = Link.TO_MACHINE)
  void aKilledHookLeavesNothingBehind(Trial trial) {
    Running command = tree(trial);
    Trial.signal(trial.hook(), "KILL");
    gone(trial);
    assertThat(command.await(LIMIT).status()).isNotZero();
  }

  /** A few processes in sessions and groups of their own, deaf to polite signals. */
  private static Running tree(Trial trial) {
    Running command =
        trial
            .shell(
                """
                trap '' TERM HUP INT
                setsid %1$s -m http.server --bind 127.0.0.1 %2$d 2>/dev/null &
                (trap '' TERM; while :; do sleep 0.2; done) &
                until curl -sf -o /dev/null http://127.0.0.1:%2$d/; do sleep 0.05; done
                echo up
                while :; do sleep 1; done
                """
                    .formatted(Programs.PYTHON, trial.port()))
            .start();
    command.awaitOutput(LIMIT, "up");
    assertThat(trial.processes()).hasSizeGreaterThanOrEqualTo(6);
    return command;
  }

  private static void gone(Trial trial) {
    Eventually.require(
        Duration.ofSeconds(5),
        () -> "left: " + trial.processes().stream().map(ProcFile::commandLine).toList(),
        () -> trial.processes().isEmpty());
  }

  @Scenario(link = Link.TO_MACHINE)
  void aDaemonLivesOnAfterItsCommandReturned(Trial trial) throws Exception {
    int port = trial.port();
    trial
        .program(Programs.PYTHON, Programs.python("daemon"), trial.inside(), "" + port)
        .run(LIMIT)
        .expectSuccess();
    InetSocketAddress address = new InetSocketAddress(trial.inside(), port);
    for (String word : List.of("go on", "go on", "stop")) {
      Eventually.pause(300);
      long pid = Long.parseLong(ask(address, word).strip());
      if (word.equals("go on")) {
        assertThat(trial.processes()).contains(pid);
      }
    }
    gone(trial);
  }

  private static String ask(InetSocketAddress address, String word) throws IOException {
    try (Socket socket = new Socket()) {
      socket.setSoTimeout(10_000);
      socket.connect(address, 10_000);
      socket.getOutputStream().write((word + "\n").getBytes(StandardCharsets.UTF_8));
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  @Scenario(trace = false)
  void crowdsLeaveNoDescriptorAndNoThread(Trial trial) {
    try (Running crowd = crowd(trial).start()) {
      crowd.awaitOutput(LIMIT, "ready");
      List<Long> counted =
          trial.mode().offloaded() ? List.of(trial.hook(), trial.device()) : List.of();
      Eventually.pause(500);
      Map<String, Integer> before = counts(counted);
      crowd.type("go\n");
      crowd.awaitOutput(Duration.ofSeconds(90), "done");
      Eventually.require(
          Duration.ofSeconds(10),
          () -> "before " + before + ", after " + counts(counted) + details(counted),
          () -> noMore(before, counts(counted)));
      crowd.type("end\n");
      trial.outcome("output", crowd.await(LIMIT).expectSuccess().output());
    }
  }

  /** Connections, forks and threads. */
  private static Command crowd(Trial trial) {
    return trial.program(
        Programs.c("crowd"),
        "" + trial.amount(200, 1000),
        "" + trial.amount(60, 500),
        "" + trial.amount(60, 200));
  }

  /**
   * Nothing may be left; something less than at first is no leak. A process keeps its own call
   * slots, with a thread on the device each, as long as it lives; how many it has come to need is a
   * matter of chance.
   */
  private static boolean noMore(Map<String, Integer> before, Map<String, Integer> after) {
    return after.entrySet().stream()
        .allMatch(e ->
            e.getValue()
                <= before.getOrDefault(e.getKey(), 0)
                    + (e.getKey().equals(DEVICE_THREADS) ? SLOTS_OF_A_PROCESS - 1 : 0));
  }

  private static Map<String, Integer> counts(List<Long> processes) {
    Map<String, Integer> counts = new TreeMap<>();
    for (int i = 0; i < processes.size(); i++) {
      String role = i == 0 ? "hook" : "device";
      counts.put(role + " descriptors", ProcFile.descriptors(processes.get(i)));
      counts.put(i == 0 ? "hook threads" : DEVICE_THREADS, threads(processes.get(i)).size());
    }
    return counts;
  }

  private static List<String> threads(long pid) {
    return ProcFile.threadNames(pid).stream()
        .filter(name -> !JVMS_OWN.matcher(name).matches())
        .toList();
  }

  private static String details(List<Long> processes) {
    StringBuilder text = new StringBuilder();
    for (long pid : processes) {
      text.append("\n").append(threads(pid)).append("\n").append(ProcFile.descriptorTargets(pid));
    }
    return text.toString();
  }
}
