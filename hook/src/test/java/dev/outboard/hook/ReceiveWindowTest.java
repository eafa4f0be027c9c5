// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Socket;
import java.io.ByteArrayOutputStream;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ReceiveWindowTest {
  private final ReceiveWindow window =
      new ReceiveWindow(new OpenFile(3, Socket.AF_INET, Socket.SOCK_STREAM, 0, true));

  @Test
  void bytesComeOutAsTheyCame() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Random random = new Random(seed);
    ByteArrayOutputStream in = new ByteArrayOutputStream();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    window.begin(1);
    for (int round = 0; round < 2000; round++) {
      if (random.nextInt(3) == 0) {
        byte[] part = new byte[1 + random.nextInt(500)];
        random.nextBytes(part);
        in.writeBytes(part);
        window.add(part);
      } else {
        int most = random.nextInt(700);
        byte[] some = window.first(most);
        assertThat(some.length).isEqualTo(Math.min(most, window.bytes()));
        int taken = random.nextBoolean() ? some.length : random.nextInt(some.length + 1);
        out.write(some, 0, taken);
        window.drop(taken);
      }
    }
    out.writeBytes(window.first(Long.MAX_VALUE));
    assertThat(out.toByteArray()).isEqualTo(in.toByteArray());
  }

  @Test
  void whoeverReceivesWaitsWhileSomethingMayCome() {
    assertThat(window.waits()).isFalse();
    window.begin(1);
    assertThat(window.waits()).isTrue();
    window.add(new byte[] {1});
    assertThat(window.waits()).isFalse();
    window.drop(1);
    assertThat(window.waits()).isTrue();
    window.ended = true;
    assertThat(window.waits()).isFalse();
    window.clear();
    window.begin(2);
    assertThat(window.waits()).isTrue();
    assertThat(window.bytes()).isZero();
  }
}
