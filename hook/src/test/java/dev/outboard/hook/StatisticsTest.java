// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class StatisticsTest {
  @Test
  void countsWhoDidWhat() {
    Statistics s = new Statistics();
    Row read = Objects.requireNonNull(SyscallTable.byName("read"));
    Row close = Objects.requireNonNull(SyscallTable.byName("close"));
    for (int i = 0; i < 99; i++) {
      s.record(read, false, 10, 1, 1000, 1, 0);
    }
    s.record(read, false, -11, 1, 1_000_000, 0, 2);
    s.record(read, true, 0, 0, 0, 0, 0);
    s.record(close, true, 0, 0, 0, 0, 0);
    s.record(close, false, 0, 0, 0, 0, 0);
    Statistics.Line line = s.lines().getFirst();
    assertThat(line.name()).isEqualTo("read");
    assertThat(line.device()).isEqualTo(100);
    assertThat(line.host()).isEqualTo(1);
    assertThat(line.hook()).isZero();
    assertThat(line.bytes()).isEqualTo(990);
    assertThat(line.medianNanos()).isBetween(900L, 1000L);
    assertThat(line.p99Nanos()).isBetween(900L, 1000L);
    assertThat(line.spinsWon()).isEqualTo(99);
    assertThat(line.spinsLost()).isEqualTo(2);
    assertThat(s.lines().getLast())
        .isEqualTo(new Statistics.Line("close", 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0));
  }
}
