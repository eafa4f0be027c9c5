// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.posix.Linux;
import dev.outboard.posix.SocketPair;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class DescriptorWireTest {
  /** Its peer has said something and is gone. */
  private static DescriptorWire left(String last) throws IOException {
    SocketPair pair = SocketPair.open();
    assertThat(pair.error()).isZero();
    try (Arena a = Arena.ofConfined()) {
      MemorySegment text = Linux.cString(a, last);
      assertThat(Linux.write(pair.other(), text.address(), last.length())).isEqualTo(last.length());
    }
    Linux.close(pair.other());
    return DescriptorWire.of(pair.one(), pair.one());
  }

  private static ByteBuffer room() {
    return ByteBuffer.allocateDirect(64);
  }

  @Test
  void whatTheOtherEndSaidLastIsReadAfterAWriteHasFailed() throws IOException {
    try (DescriptorWire wire = left("over")) {
      assertThatThrownBy(() -> wire.write(room())).isInstanceOf(IOException.class);
      wire.writingFailed();
      ByteBuffer into = room();
      assertThat(wire.read(into)).isEqualTo(4);
      assertThat(wire.read(into)).isEqualTo(-1);
      assertThatThrownBy(() -> wire.write(room())).isInstanceOf(IOException.class);
    }
  }

  /** Also of a pipe, whose writer nothing else wakes. */
  @Test
  void aStopEndsWritingAtOnce() throws Exception {
    SocketPair pair = SocketPair.open();
    try (Arena a = Arena.ofConfined()) {
      MemorySegment ends = a.allocate(8, 4);
      assertThat(Linux.pipe2(ends.address(), 0)).isZero();
      int from = ends.get(ValueLayout.JAVA_INT, 0);
      for (int out : new int[] {ends.get(ValueLayout.JAVA_INT, 4), pair.other()}) {
        SocketPair silent = SocketPair.open();
        try (DescriptorWire wire = DescriptorWire.of(silent.one(), out)) {
          BlockingQueue<String> outcomes = new LinkedBlockingQueue<>();
          Thread writer =
              Thread.ofPlatform()
                  .daemon()
                  .start(() -> {
                    try {
                      wire.write(ByteBuffer.allocateDirect(8 << 20));
                      outcomes.add("written");
                    } catch (IOException e) {
                      outcomes.add(String.valueOf(e.getMessage()));
                    }
                  });
          assertThat(outcomes.poll(200, TimeUnit.MILLISECONDS)).isNull();
          wire.stop();
          assertThat(outcomes.poll(10, TimeUnit.SECONDS)).isNotNull().isNotEqualTo("written");
          writer.join();
        }
        Linux.close(silent.other());
      }
      Linux.close(from);
    }
    Linux.close(pair.one());
  }

  /** As many bytes as there are, whatever a pipe takes at once. */
  @Test
  void allThatIsWrittenToAPipeComesOutOfIt() throws Exception {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment ends = a.allocate(8, 4);
      assertThat(Linux.pipe2(ends.address(), 0)).isZero();
      int in = ends.get(ValueLayout.JAVA_INT, 0);
      int out = ends.get(ValueLayout.JAVA_INT, 4);
      byte[] bytes = new byte[1_000_000];
      new Random(1).nextBytes(bytes);
      try (DescriptorWire wire = DescriptorWire.of(in, out)) {
        Thread writer =
            Thread.ofPlatform()
                .daemon()
                .start(() -> {
                  try {
                    wire.write(ByteBuffer.allocateDirect(bytes.length).put(bytes).flip());
                  } catch (IOException e) {
                    wire.stop();
                  }
                });
        ByteBuffer into = ByteBuffer.allocateDirect(bytes.length);
        while (into.hasRemaining()) {
          assertThat(wire.read(into)).isPositive();
        }
        byte[] got = new byte[bytes.length];
        into.flip().get(got);
        assertThat(Arrays.equals(got, bytes)).isTrue();
        writer.join();
      }
    }
  }

  @Test
  void aStopEndsReadingAtOnce() throws IOException {
    try (DescriptorWire wire = left("over")) {
      wire.stop();
      wire.writingFailed();
      assertThatThrownBy(() -> wire.read(room())).hasMessageContaining("closed on this side");
    }
  }
}
