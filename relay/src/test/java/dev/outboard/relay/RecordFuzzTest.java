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
import org.junit.jupiter.api.Timeout;

/** The inputs that {@link RecordFuzz} starts from, and those that it has found. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class RecordFuzzTest {
  @Test
  void theInputsThatAreKept() throws Exception {
    URL kept = Objects.requireNonNull(getClass().getResource("RecordFuzzInputs/anyRecords"));
    List<Path> inputs;
    try (Stream<Path> list = Files.list(Path.of(kept.toURI()))) {
      inputs = list.sorted().toList();
    }
    assertThat(inputs).hasSizeGreaterThan(5);
    RecordFuzz fuzz = new RecordFuzz();
    for (Path input : inputs) {
      fuzz.anyRecords(Files.readAllBytes(input));
    }
  }
}
