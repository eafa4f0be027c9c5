// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.posix.Linux;
import dev.outboard.posix.SocketPair;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
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

  @Test
  void aStopEndsReadingAtOnce() throws IOException {
    try (DescriptorWire wire = left("over")) {
      wire.stop();
      wire.writingFailed();
      assertThatThrownBy(() -> wire.read(room())).hasMessageContaining("closed on this side");
    }
  }
}
