// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class CallTimesTest {
  @Test
  void aBucketIsAtMostAnEighthWide() {
    for (long nanos = 1; nanos < 1L << 40; nanos += 1 + nanos / 37) {
      int bucket = CallTimes.bucket(nanos);
      assertThat(CallTimes.floor(bucket)).isLessThanOrEqualTo(nanos);
      assertThat(CallTimes.floor(bucket + 1)).isGreaterThan(nanos);
      assertThat(nanos - CallTimes.floor(bucket)).isLessThanOrEqualTo(nanos / 8 + 1);
    }
    assertThat(CallTimes.bucket(-5)).isZero();
    CallTimes.bucket(Long.MAX_VALUE); // within the array
  }

  @Test
  void percentilesAreOfAllCalls() {
    CallTimes times = new CallTimes();
    assertThat(times.percentile(99)).isZero();
    for (int i = 1; i <= 100; i++) {
      times.record(1000L * i);
    }
    assertThat(times.percentile(50)).isBetween(45_000L, 50_000L);
    assertThat(times.percentile(99)).isBetween(88_000L, 99_000L);
  }
}
