// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BigTcpTest {
  @ParameterizedTest
  @CsvSource({
    "6.1.0-44-amd64, false",
    "6.5.13, false",
    "6.6.0-rc1, true",
    "6.12.117+deb13, true",
    "7.0, true",
    "5.19.0, false",
    "'', false",
    "linux, false",
  })
  void knowsReleases(String release, boolean since) {
    assertThat(BigTcp.isSince(release, 6, 6)).isEqualTo(since);
  }
}
