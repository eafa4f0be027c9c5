// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The inputs that {@link RequestFuzz} starts from, and those that it has found. */
class RequestFuzzTest {
  private interface Target {
    void run(byte[] bytes) throws Exception;
  }

  private static void replay(String method, Target target) throws Exception {
    URL kept =
        Objects.requireNonNull(RequestFuzzTest.class.getResource("RequestFuzzInputs/" + method));
    List<Path> inputs;
    try (Stream<Path> list = Files.list(Path.of(kept.toURI()))) {
      inputs = list.sorted().toList();
    }
    assertThat(inputs).isNotEmpty();
    for (Path input : inputs) {
      target.run(Files.readAllBytes(input));
    }
  }

  @Test
  void requestsToADisk() throws Exception {
    replay("anyRequestToADisk", new RequestFuzz()::anyRequestToADisk);
  }

  @Test
  void requestsToADirectory() throws Exception {
    replay("anyRequestToADirectory", new RequestFuzz()::anyRequestToADirectory);
  }
}
