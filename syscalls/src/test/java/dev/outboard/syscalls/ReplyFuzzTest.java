// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import java.lang.foreign.MemorySegment;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Random;
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

  /** More bytes than the call carries, and numbers that are no results at all. */
  @Test
  void aResultThatNoKernelGivesIsAnError() {
    FakeProgram program = new FakeProgram();
    Call call = new Call(new DeviceSpace().data);
    int bytes = 0;
    for (Row row : MarshallingTest.deviceRows()) {
      for (int seed = 0; seed < 20; seed++) {
        program.restart();
        long[] args = new Samples(program, new Random(seed)).call(row, false);
        if (HostMarshaller.encode(row, args, program, call) < 0) {
          continue;
        }
        assertThat(answer(row, call, -1)).isEqualTo(-1);
        assertThat(answer(row, call, -4095)).isEqualTo(-4095);
        assertThat(answer(row, call, -4096)).as("%s", row).isEqualTo(-Errno.EIO);
        assertThat(answer(row, call, Long.MIN_VALUE)).as("%s", row).isEqualTo(-Errno.EIO);
        assertThat(answer(row, call, 0)).as("%s", row).isZero();
        if (row.result() == ResultKind.FD) {
          assertThat(answer(row, call, 1L << 31)).as("%s", row).isEqualTo(-Errno.EIO);
        }
        boolean truncates = ReplyFuzz.truncates(row, call);
        if (row.result() == ResultKind.BYTES && call.wanted > 0 && !truncates) {
          bytes++;
          assertThat(answer(row, call, call.carried)).as("%s", row).isEqualTo(call.carried);
          assertThat(answer(row, call, call.carried + 1)).as("%s", row).isEqualTo(-Errno.EIO);
          assertThat(answer(row, call, Long.MAX_VALUE)).as("%s", row).isEqualTo(-Errno.EIO);
        }
      }
    }
    assertThat(bytes).isGreaterThan(100);
  }

  private static long answer(Row row, Call call, long result) {
    call.result = result;
    return HostMarshaller.checked(row, call);
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
