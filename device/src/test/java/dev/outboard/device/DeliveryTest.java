// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class DeliveryTest {
  @Test
  void socketsWithSomethingUnacknowledgedAreCounted() {
    String table =
        """
          sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
           0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
           1: 0200630A:A3F2 0100630A:15DF 04 0007AAA8:00000000 01:00000014 00000000     0        0 0
           2: 0200630A:A3F4 0100630A:15DF 01 00000000:00000000 02:000003E8 00000000     0        0 7
           3: 0200630A:A3F6 0100630A:15DF 09 00000001:00000000 01:00000014 00000000     0        0 0
           4: 0200630A:A3F8 0100630A:15DF 0B 00000001:00000000 01:00000014 00000000     0        0 0
           5: 0200630A:A3FA 0100630A:15DF 05 00000000:00000000 00:00000000 00000000     0        0 0
           6: 0200630A:A3FC 0100630A:15DF 06 00000000:00000000 03:00000F00 00000000     0        0 0
        """;
    assertThat(Delivery.unacknowledged(table)).isEqualTo(3);
    assertThat(Delivery.unacknowledged("")).isZero();
  }
}
