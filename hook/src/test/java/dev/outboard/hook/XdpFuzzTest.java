// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The inputs that {@link XdpFuzz} starts from, and those that it has found. */
class XdpFuzzTest {
  @Test
  void ringsAndFrames() throws Exception {
    URL kept =
        Objects.requireNonNull(XdpFuzzTest.class.getResource("XdpFuzzInputs/anyRingsAndFrames"));
    List<Path> inputs;
    try (Stream<Path> list = Files.list(Path.of(kept.toURI()))) {
      inputs = list.sorted().toList();
    }
    assertThat(inputs).isNotEmpty();
    for (Path input : inputs) {
      new XdpFuzz().anyRingsAndFrames(Files.readAllBytes(input));
    }
  }
}
