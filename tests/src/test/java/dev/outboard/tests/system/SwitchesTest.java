// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.ToLongFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Everything by which the shim spares calls a trap or a wait has a switch, {@code
 * -Doutboard.shim.NAME=false}: with each of them off a program does the same, and that one thing is
 * not done.
 */
class SwitchesTest {
  private static final Duration LIMIT = Duration.ofSeconds(110);

  /** Files of {@code switches.c}, each of which is read once by a number that is new. */
  private static final int FILES = 600;

  /** Programs that are executed one after another. */
  private static final int PROGRAMS = 60;

  /** Calls of {@code newfstatat} that the dynamic linker makes in each, soon after its start. */
  private static final int EARLY = 2;

  /** How often what a switch is for was done, by the report: more than 0 with it, 0 without. */
  private static final Map<String, ToLongFunction<String>> SWITCHES = switches();

  private static Map<String, ToLongFunction<String>> switches() {
    Map<String, ToLongFunction<String>> all = new LinkedHashMap<>();
    all.put("sets", json -> calls(json, "epoll_ctl", "untrapped"));
    all.put("waits", json -> calls(json, "epoll_wait", "direct"));
    all.put("looks", json -> calls(json, "poll", "direct") + calls(json, "pselect6", "direct"));
    all.put("files", json -> calls(json, "sendfile", "direct"));
    all.put(
        "questions",
        json ->
            calls(json, "getsockname", "direct")
                + calls(json, "getsockopt", "direct")
                + calls(json, "ioctl", "direct"));
    all.put("ahead", json -> number(json, "\"sentAhead\": (\\d+)"));
    all.put("options", json -> calls(json, "setsockopt", "atOnce"));
    all.put("peeks", json -> number(json, "\"receivedAhead\": (\\d+)"));
    all.put("paths", json -> calls(json, "openat", "untrapped"));
    // Without it each new number's first read traps, besides those of other programs.
    all.put("learns", json -> Math.max(0, FILES - calls(json, "read", "host")));
    all.put("handlers", json -> calls(json, "rt_sigaction", "untrapped"));
    // A place that is called once in each program.
    all.put("known", json -> calls(json, "lseek", "untrapped"));
    all.put(
        "soon", json -> Math.max(0, EARLY * (PROGRAMS + 1) - calls(json, "newfstatat", "host")));
    return all;
  }

  @Scenario(
      link = Link.TO_MACHINE,
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void eachIsOffByItself(Trial trial) throws IOException {
    String port = Integer.toString(trial.port());
    try (Running peer =
        trial.machine(Programs.PYTHON, Programs.python("echo_peer"), "0.0.0.0", port).start()) {
      peer.awaitOutput(LIMIT, "up");
      String all = run(trial, port, "");
      if (trial.mode().offloaded()) {
        SWITCHES.forEach((name, uses) ->
            assertThat(uses.applyAsLong(all)).as("%s, which is on, in %s", name, all).isPositive());
        for (Map.Entry<String, ToLongFunction<String>> s : SWITCHES.entrySet()) {
          String json = run(trial, port, s.getKey());
          assertThat(s.getValue().applyAsLong(json))
              .as("%s, which is off, in %s", s.getKey(), json)
              .isZero();
        }
      }
    }
  }

  /** Runs all of it with one switch off, or none; what was counted, if it is offloaded. */
  private static String run(Trial trial, String port, String off) throws IOException {
    Path stats = trial.directory().resolve("stats" + off + ".json");
    String script = "\"$0\" \"$1\" \"$2\" && echo 0 >counted && \"$3\" counted \"$4\"";
    Command command =
        trial
            .program(
                "sh",
                "-c",
                script,
                Programs.c("switches"),
                trial.outside(),
                port,
                Programs.c("again"),
                Integer.toString(PROGRAMS))
            .with("--stats=" + stats);
    if (!off.isEmpty()) {
      command.environment("JDK_JAVA_OPTIONS", "-Doutboard.shim." + off + "=false");
    }
    trial.outcome("output", command.run(LIMIT).expectSuccess().output());
    if (!trial.mode().offloaded()) {
      return "";
    }
    Eventually.require(LIMIT, () -> "no whole report in " + stats, () -> isWhole(stats));
    return Files.readString(stats);
  }

  private static boolean isWhole(Path file) {
    try {
      return Files.readString(file).stripTrailing().endsWith("\n}");
    } catch (IOException e) {
      return false;
    }
  }

  private static long calls(String json, String call, String which) {
    return number(json, "\"" + call + "\", [^}]*\"" + which + "\": (\\d+)");
  }

  private static long number(String json, String pattern) {
    Matcher m = Pattern.compile(pattern).matcher(json);
    return m.find() ? Long.parseLong(m.group(1)) : 0;
  }
}
