// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class PlainTextTest {
  @Test
  void noCharacterOfItIsACommandToATerminal() {
    assertThat(PlainText.of("a\u001b[31mb\r\n\u007f\u009b2Jc")).isEqualTo("a [31mb    2Jc");
    assertThat(PlainText.of("größer €")).isEqualTo("größer €");
  }
}
