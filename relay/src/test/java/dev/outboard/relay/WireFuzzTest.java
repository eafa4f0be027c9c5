// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The inputs that {@link WireFuzz} starts from, and those that it has found. */
class WireFuzzTest {
  interface Target {
    void run(byte[] bytes) throws Exception;
  }

  /** Has a target take each of the inputs of a directory. */
  static void replay(String directory, Target target) throws Exception {
    URL kept = Objects.requireNonNull(WireFuzzTest.class.getResource(directory));
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
  void links() throws Exception {
    replay("WireFuzzInputs/anyBytesOverALink", new WireFuzz()::anyBytesOverALink);
  }

  @Test
  void openings() throws Exception {
    replay("WireFuzzInputs/anyBytesAsAnOpening", new WireFuzz()::anyBytesAsAnOpening);
  }
}
