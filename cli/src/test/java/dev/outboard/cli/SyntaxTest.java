// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;

class SyntaxTest {
  private static final Syntax SYNTAX =
      new Syntax(
          "run",
          "-- PROGRAM",
          "Runs.",
          List.of("More."),
          List.of(
              Option.flag("--stats", 's', "Counts."),
              Option.single("--net", "SPEC", "The network,", "in two lines."),
              Option.optional("--trace", "FILE", "Traces."),
              Option.repeated("--publish", 'p', "PORT:PORT", "Publishes."),
              Option.list("--dns", "ADDR", "Asks.")),
          List.of("  outboard run -- true"));

  private static Arguments parse(String... words) {
    return SYNTAX.parse(List.of(words));
  }

  @Test
  void valuesFollowOrAreJoinedByAnEqualsSign() {
    assertThat(parse("--net", "none").value("--net")).isEqualTo("none");
    assertThat(parse("--net=tap:name=a,addr=b").value("--net")).isEqualTo("tap:name=a,addr=b");
    assertThat(parse("-p", "1:2", "--publish=3:4").all("--publish")).containsExactly("1:2", "3:4");
    assertThat(parse("--dns", "1.1.1.1,8.8.8.8", "--dns=::1").all("--dns"))
        .containsExactly("1.1.1.1", "8.8.8.8", "::1");
  }

  @Test
  void theProgramsOwnOptionsAreNotOurs() {
    Arguments arguments = parse("--stats", "ls", "--net", "x", "--", "-l");
    assertThat(arguments.has("--stats")).isTrue();
    assertThat(arguments.has("--net")).isFalse();
    assertThat(arguments.operands()).containsExactly("ls", "--net", "x", "--", "-l");
    assertThat(parse("--", "--stats").operands()).containsExactly("--stats");
    assertThat(parse("-").operands()).containsExactly("-");
  }

  @Test
  void optionsMayFollowOperandsThatAreNoProgram() {
    Syntax words =
        new Syntax(
            "bench",
            "[WORD...]",
            "Measures.",
            List.of(),
            List.of(Option.flag("--quick", (char) 0, "Soon.")),
            List.of());
    Arguments arguments = words.parse(List.of("tcp", "--quick", "rr", "--", "--quick"));
    assertThat(arguments.has("--quick")).isTrue();
    assertThat(arguments.operands()).containsExactly("tcp", "rr", "--quick");
    assertThat(words.parse(List.of("tcp", "--", "--quick")).has("--quick")).isFalse();
  }

  @Test
  void anOptionalValueIsNeverTheNextWord() {
    Arguments arguments = parse("--trace", "ls");
    assertThat(arguments.value("--trace")).isEmpty();
    assertThat(arguments.operands()).containsExactly("ls");
    assertThat(parse("--trace=f", "ls").value("--trace")).isEqualTo("f");
  }

  @Test
  void wrongUsageSaysWhatAndWhereHelpIs() {
    assertThatThrownBy(() -> parse("--nett=x"))
        .isInstanceOf(Failure.class)
        .hasMessage("unknown option '--nett'; did you mean --net?\nTry 'outboard run --help'.");
    assertThatThrownBy(() -> parse("--completely-different"))
        .hasMessageNotContaining("did you mean");
    assertThatThrownBy(() -> parse("--net")).hasMessageContaining("--net needs a value");
    assertThatThrownBy(() -> parse("--net=")).hasMessageContaining("empty value");
    assertThatThrownBy(() -> parse("--stats=1")).hasMessageContaining("takes no value");
    assertThatThrownBy(() -> parse("--net=a", "--net=b")).hasMessageContaining("given twice");
  }

  @Test
  void aCommandWithoutOperandsTakesNone() {
    Syntax none = new Syntax("check", "", "Looks.", List.of(), List.of(), List.of());
    assertThatThrownBy(() -> none.parse(List.of("x")))
        .hasMessageContaining("unexpected argument 'x'");
    assertThat(none.parse(List.of("--help", "x")).has("--help")).isTrue();
  }

  @Test
  void theHelpNamesEveryOptionInAlignedColumns() {
    assertThat(SYNTAX.help())
        .contains(
            "Usage: outboard run [OPTIONS] -- PROGRAM",
            "  -s, --stats             Counts.",
            "      --net=SPEC          The network,",
            "                          in two lines.",
            "      --trace[=FILE]      Traces.",
            "  -h, --help              Show this help.")
        .allMatch(l -> l.length() <= 100, "fits a terminal");
  }
}
