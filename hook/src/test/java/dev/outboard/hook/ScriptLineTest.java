// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class ScriptLineTest {
  private static String read(String head) {
    ScriptLine line = ScriptLine.of(bytes(head));
    if (line == null) {
      return "none";
    }
    byte[] argument = line.argument();
    String interpreter = new String(line.interpreter(), StandardCharsets.ISO_8859_1);
    return argument == null
        ? interpreter
        : interpreter + "|" + new String(argument, StandardCharsets.ISO_8859_1);
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  @Test
  void theInterpreterEndsAtABlank() {
    assertThat(read("#!/bin/sh\nrest")).isEqualTo("/bin/sh");
    assertThat(read("#! \t/bin/sh \t\nrest")).isEqualTo("/bin/sh");
    assertThat(read("#!/bin/sh")).isEqualTo("/bin/sh");
    assertThat(read("#!sh\n")).isEqualTo("sh");
  }

  @Test
  void whatFollowsIsOneArgument() {
    assertThat(read("#!/usr/bin/env -S a  b \n")).isEqualTo("/usr/bin/env|-S a  b");
    assertThat(read("#!/bin/sh\t-e")).isEqualTo("/bin/sh|-e");
    assertThat(read("#!/bin/sh a\0b\n")).isEqualTo("/bin/sh|a");
    assertThat(read("#!/bin/sh\0 a\n")).isEqualTo("/bin/sh");
  }

  @Test
  void whatIsNoScriptIsTheKernelsToSay() {
    assertThat(read("")).isEqualTo("none");
    assertThat(read("#")).isEqualTo("none");
    assertThat(read("# !/bin/sh\n")).isEqualTo("none");
    assertThat(read("#!\n")).isEqualTo("none");
    assertThat(read("#!  \t\n")).isEqualTo("none");
    assertThat(read("#!\0\n")).isEqualTo("none");
    assertThat(read("#!")).isEqualTo("none");
  }

  @Test
  void aNameThatReachesTheEndOfWhatIsLookedAtMayGoOn() {
    String name = "/" + "a".repeat(Executables.LOOKED_BYTES);
    assertThat(read(("#!" + name).substring(0, Executables.LOOKED_BYTES))).isEqualTo("none");
    String argument = "#!/bin/sh " + "b".repeat(Executables.LOOKED_BYTES);
    assertThat(read(argument.substring(0, Executables.LOOKED_BYTES)))
        .isEqualTo("/bin/sh|" + "b".repeat(Executables.LOOKED_BYTES - "#!/bin/sh ".length() - 1));
    assertThat(read(("#!" + name).substring(0, Executables.LOOKED_BYTES - 1)))
        .isEqualTo(name.substring(0, Executables.LOOKED_BYTES - 3));
  }
}
