// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * The inputs that {@link FrameFuzz} starts from, and those that it has found, one after the other.
 */
class FrameFuzzTest {
  @Test
  void theInputsThatAreKept() throws Exception {
    URL kept = Objects.requireNonNull(getClass().getResource("FrameFuzzInputs/anyBytesAsAFrame"));
    List<Path> inputs;
    try (Stream<Path> list = Files.list(Path.of(kept.toURI()))) {
      inputs = list.sorted().toList();
    }
    assertThat(inputs).hasSizeGreaterThan(5);
    FrameFuzz fuzz = new FrameFuzz();
    for (Path input : inputs) {
      fuzz.anyBytesAsAFrame(Files.readAllBytes(input));
    }
  }
}
