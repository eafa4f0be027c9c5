// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/** The inputs that fuzzers start from, and those that they have found. */
final class FuzzInputs {
  interface Target {
    void run(byte[] bytes) throws Exception;
  }

  private FuzzInputs() {}

  /** Runs a method of a fuzzer with each input that is kept for it. */
  static void replay(Class<?> fuzzer, String method, Target target) throws Exception {
    String kept = fuzzer.getSimpleName() + "Inputs/" + method;
    URL directory = Objects.requireNonNull(fuzzer.getResource(kept));
    List<Path> inputs;
    try (Stream<Path> list = Files.list(Path.of(directory.toURI()))) {
      inputs = list.sorted().toList();
    }
    assertThat(inputs).isNotEmpty();
    for (Path input : inputs) {
      target.run(Files.readAllBytes(input));
    }
  }
}
