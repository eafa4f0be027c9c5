// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.MemorySegment;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The inputs that {@link ReplyFuzz} starts from, and those that it has found. */
class ReplyFuzzTest {
  @Test
  void theInputsThatAreKept() throws Exception {
    URL kept = Objects.requireNonNull(getClass().getResource("ReplyFuzzInputs/anyReplyToACall"));
    List<Path> inputs;
    try (Stream<Path> list = Files.list(Path.of(kept.toURI()))) {
      inputs = list.sorted().toList();
    }
    assertThat(inputs).hasSizeGreaterThan(5);
    ReplyFuzz fuzz = new ReplyFuzz();
    for (Path input : inputs) {
      fuzz.anyReplyToACall(Files.readAllBytes(input));
    }
  }

  /** The fuzzer would see a byte that goes elsewhere. */
  @Test
  void aWriteBesideTheCallsMemoryIsSeen() {
    FakeProgram program = new FakeProgram();
    program.allocate(16);
    long one = program.allocate(16);
    long far = program.allocate(16);
    MemorySegment bytes = MemorySegment.ofArray(new byte[64]);
    program.watch(List.of(new Samples.Range(one, 8), new Samples.Range(one + 8, 8)), () -> {});
    assertThat(program.write(one, bytes, 0, 16)).isZero();
    assertThatThrownBy(() -> program.write(one, bytes, 0, 17)).isInstanceOf(AssertionError.class);
    assertThatThrownBy(() -> program.write(one - 1, bytes, 0, 1))
        .isInstanceOf(AssertionError.class);
    assertThatThrownBy(() -> program.write(far, bytes, 0, 1)).isInstanceOf(AssertionError.class);
    program.unwatch();
    assertThat(program.write(far, bytes, 0, 1)).isZero();
  }
}
