// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What a command was called with. Made by {@link Syntax#parse}. */
final class Arguments {
  private final Map<String, List<String>> values = new HashMap<>();
  private List<String> operands = List.of();

  void add(Option option, String value) {
    values.computeIfAbsent(option.name(), n -> new ArrayList<>()).add(value);
  }

  void operands(List<String> rest) {
    operands = List.copyOf(rest);
  }

  /** Whether the option was given. */
  boolean has(String option) {
    return values.containsKey(option);
  }

  /** The option's value, the last one; null if it was not given. */
  @Nullable String value(String option) {
    List<String> all = values.get(option);
    return all == null ? null : all.getLast();
  }

  /** All values of the option in their order; empty if it was not given. */
  List<String> all(String option) {
    return values.getOrDefault(option, List.of());
  }

  /** What follows the options. */
  List<String> operands() {
    return operands;
  }
}
