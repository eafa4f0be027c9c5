// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
  @Test
  void readsWhatThereIs() {
    Object o =
        Json.read(
            " {\"a\": [1, -2.5e3, true, false, null], \"b\": {\"c\": \"\\u00e9\\n\\\"\"}, \"d\": {},"
                + " \"e\": []} ");
    assertThat(Json.at(o, "b", "c")).isEqualTo("é\n\"");
    assertThat(Json.at(o, "a")).hasToString("[1.0, -2500.0, true, false, null]");
    assertThat(Json.at(o, "b", "x", "y")).isNull();
    assertThat(Json.number(o, 7, "d", "x")).isEqualTo(7);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\": 1,}",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "tru",
        "1 2",
        "{a: 1}",
        "-"
      })
  void refusesWhatIsNone(String text) {
    assertThatThrownBy(() -> Json.read(text)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void refusesEndlessNesting() {
    assertThatThrownBy(() -> Json.read("[".repeat(100_000)))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void readsWhatItWrote() {
    Map<String, @Nullable Object> o = new LinkedHashMap<>();
    o.put("text", "quote \" backslash \\ line \n é");
    o.put("numbers", List.of(1.0, 0.125, -3e20));
    o.put("nothing", null);
    o.put("empty", List.of());
    o.put("yes", true);
    assertThat(Json.read(Json.write(o))).isEqualTo(o);
  }

  @Test
  void whatIsNoNumberIsNull() {
    assertThat(Json.write(List.of(Double.NaN))).isEqualTo("[\n  null\n]\n");
  }
}
