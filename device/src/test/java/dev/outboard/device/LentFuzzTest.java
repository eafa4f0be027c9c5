// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The inputs that {@link LentFuzz} starts from, and those that it has found. */
class LentFuzzTest {
  @Test
  void theInputsThatAreKept() throws Exception {
    URL kept = Objects.requireNonNull(getClass().getResource("LentFuzzInputs/anythingInALentSlot"));
    List<Path> inputs;
    try (Stream<Path> list = Files.list(Path.of(kept.toURI()))) {
      inputs = list.sorted().toList();
    }
    assertThat(inputs).hasSizeGreaterThan(5);
    LentFuzz fuzz = new LentFuzz();
    for (Path input : inputs) {
      try {
        fuzz.anythingInALentSlot(Files.readAllBytes(input));
      } catch (RuntimeException | AssertionError e) {
        throw new AssertionError("with " + input.getFileName(), e);
      }
    }
  }
}
