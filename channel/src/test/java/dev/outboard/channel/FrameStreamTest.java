// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.posix.Linux;
import dev.outboard.posix.SocketPair;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class FrameStreamTest {
  /** And what it has taken arrives, whole. */
  @Test
  void whoReadsNothingHoldsUpNobodyWhoOffers() {
    SocketPair pair = SocketPair.open();
    assertThat(pair.error()).isZero();
    try (FrameStream one = new FrameStream(pair.one());
        FrameStream other = new FrameStream(pair.other())) {
      int taken = 0;
      while (one.offer(new ServiceFrame.StatusRequest(taken), -1)) {
        taken++;
      }
      assertThat(taken).isPositive();
      assertThat(one.offer(new ServiceFrame.StatusRequest(0), -1)).isFalse();
      for (int i = 0; i < taken; i++) {
        assertThat(other.receive(5_000))
            .isEqualTo(new Decoded.Received(new ServiceFrame.StatusRequest(i)));
      }
      assertThat(one.offer(new ServiceFrame.StatusRequest(9), -1)).isTrue();
      assertThat(other.receive(5_000))
          .isEqualTo(new Decoded.Received(new ServiceFrame.StatusRequest(9)));
    }
  }

  /** One receive may bring both: the descriptor stays for the frame that it belongs to. */
  @Test
  void aDescriptorBehindOtherFramesIsThatOfItsFrame() {
    SocketPair pair = SocketPair.open();
    SocketPair given = SocketPair.open();
    try (FrameStream one = new FrameStream(pair.one());
        FrameStream other = new FrameStream(pair.other())) {
      assertThat(one.offer(new ServiceFrame.StatusRequest(1), -1)).isTrue();
      assertThat(one.offer(new ServiceFrame.Serve(2), given.one())).isTrue();
      assertThat(one.offer(new ServiceFrame.StatusRequest(3), -1)).isTrue();
      assertThat(other.receive(5_000))
          .isEqualTo(new Decoded.Received(new ServiceFrame.StatusRequest(1)));
      assertThat(other.receive(5_000)).isEqualTo(new Decoded.Received(new ServiceFrame.Serve(2)));
      int came = other.takeDescriptor();
      assertThat(came).isNotNegative();
      assertThat(Linux.close(came)).isZero();
      assertThat(other.receive(5_000))
          .isEqualTo(new Decoded.Received(new ServiceFrame.StatusRequest(3)));
      assertThat(other.takeDescriptor()).isEqualTo(-1);
    }
    Linux.close(given.one());
    Linux.close(given.other());
  }
}
