// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;

/** What hook and device write to recordings of JFR. */
class FlightRecorderTest {
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void callsOfBothSides(Trial trial) throws IOException {
    trial
        .program(Programs.PYTHON, Programs.python("threads"), "3")
        .environment(
            "JDK_JAVA_OPTIONS",
            "-XX:StartFlightRecording:settings=none,filename=" + trial.directory() + "/%p.jfr")
        .run(Duration.ofSeconds(60))
        .expectSuccess();
    // The device writes its file after the command's end.
    Eventually.require(
        Duration.ofSeconds(60),
        () -> "processes left: " + trial.processes(),
        () -> trial.processes().isEmpty());
    List<RecordedEvent> events = new ArrayList<>();
    try (Stream<Path> files = Files.list(trial.directory())) {
      for (Path file : files.filter(f -> f.toString().endsWith(".jfr")).toList()) {
        events.addAll(RecordingFile.readAllEvents(file));
      }
    }
    List<RecordedEvent> trapped = named(events, "TrappedCall");
    assertThat(trapped)
        .anyMatch(e -> e.getString("call").equals("socket") && e.getString("by").equals("device"))
        .anyMatch(e -> e.getString("by").equals("host"))
        .filteredOn(e -> e.getString("by").equals("device"))
        .allMatch(e -> e.getInt("deviceCalls") > 0 && e.getDuration("deviceTime").toNanos() > 0)
        .anyMatch(e -> e.getLong("bytes") > 0)
        .allMatch(e -> e.getLong("bytes") == 0 || e.getLong("bytes") == e.getLong("result"));
    assertThat(named(events, "UntrappedCalls")).anyMatch(e -> e.getLong("passed") > 0);
    List<RecordedEvent> ofDevice = named(events, "Call");
    assertThat(ofDevice)
        .anyMatch(e -> e.getLong("bytes") > 0 && e.getLong("bytes") == e.getLong("result"));
    assertThat((long) ofDevice.size())
        .as("calls of the device that is where the hook's calls come to")
        .isGreaterThanOrEqualTo(trapped.stream().filter(e -> e.getInt("deviceCalls") > 0).count());
    assertThat(named(events, "Session")).hasSize(1);
  }

  private static List<RecordedEvent> named(List<RecordedEvent> events, String name) {
    return events.stream()
        .filter(e -> e.getEventType().getName().equals("dev.outboard." + name))
        .toList();
  }
}
