// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

/** What a command left when it had ended: its status, 128 + n for signal n, and what it wrote. */
public record Finished(String what, int status, String output, String errors) {
  /** Fails, showing all that the command wrote, unless it ended with {@code expected}. */
  public Finished expectStatus(int expected) {
    assertThat(status)
        .withFailMessage(
            "%s ended with %d instead of %d%n-- its output:%n%s%n-- its errors:%n%s",
            what, status, expected, Evidence.tail(output), Evidence.tail(errors))
        .isEqualTo(expected);
    return this;
  }

  /** Fails unless the command ended with 0. */
  public Finished expectSuccess() {
    return expectStatus(0);
  }

  /** Both streams, errors after output. */
  public String everything() {
    return output + errors;
  }
}
