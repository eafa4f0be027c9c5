// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.ArrayList;
import java.util.List;

/**
 * What a command is called with: from this its arguments are parsed and its help is written.
 *
 * <p>A library for this (picocli) was measured to cost 150 ms of CPU in each of the two JVMs that
 * {@code outboard run} starts, more than everything else the command line does; hence these few
 * lines.
 *
 * @param name of the command; empty for {@code outboard} itself
 * @param operands what follows the options, as the usage line shows it; empty if nothing may
 * @param summary one line
 * @param description further lines of the help
 * @param options without {@code --help}, which every command has
 * @param examples lines of the help's last part
 */
record Syntax(
    String name,
    String operands,
    String summary,
    List<String> description,
    List<Option> options,
    List<String> examples) {
  static final Option HELP = Option.flag("--help", 'h', "Show this help.");

  /** So begin the operands of a command that takes a program with options of its own. */
  private static final String PROGRAM_OPERANDS = "-- ";

  private static final int HELP_COLUMN = 26;

  /** At this distance two names are so far apart that one is no typing error for the other. */
  private static final int TOO_FAR = 4;

  Syntax {
    List<Option> all = new ArrayList<>(options);
    all.add(HELP);
    options = List.copyOf(all);
    description = List.copyOf(description);
    examples = List.copyOf(examples);
  }

  /** {@code outboard run}, or {@code outboard} for the command itself. */
  String fullName() {
    return name.isEmpty() ? "outboard" : "outboard " + name;
  }

  /**
   * Parses what follows the command's name. {@code --} ends the options, and where the operands are
   * a program with options of its own, the first word that is no option does.
   *
   * @throws Failure if they are not what this command takes
   */
  Arguments parse(List<String> words) {
    Arguments parsed = new Arguments();
    List<String> rest = new ArrayList<>();
    int i = 0;
    while (i < words.size()) {
      String word = words.get(i);
      if (word.equals("--")) {
        i++;
        break;
      }
      if (!word.startsWith("-") || word.equals("-")) {
        if (operands.startsWith(PROGRAM_OPERANDS) || operands.isEmpty()) {
          break;
        }
        rest.add(word);
        i++;
        continue;
      }
      i++;
      int equals = word.startsWith("--") ? word.indexOf('=') : -1;
      Option option = find(equals < 0 ? word : word.substring(0, equals));
      if (option.kind() == Option.Kind.FLAG || option.kind() == Option.Kind.OPTIONAL) {
        if (equals >= 0 && option.kind() == Option.Kind.FLAG) {
          throw usageError(option.name() + " takes no value");
        }
        parsed.add(option, equals < 0 ? "" : word.substring(equals + 1));
        continue;
      }
      if (equals < 0 && i == words.size()) {
        throw usageError(option.name() + " needs a value: " + option.usage().strip());
      }
      String value = equals < 0 ? words.get(i++) : word.substring(equals + 1);
      if (value.isEmpty()) {
        throw usageError(option.name() + " has an empty value");
      }
      if (option.kind() == Option.Kind.SINGLE && parsed.has(option.name())) {
        throw usageError(option.name() + " is given twice");
      }
      if (option.kind() == Option.Kind.LIST) {
        for (String part : value.split(",", -1)) {
          parsed.add(option, part);
        }
      } else {
        parsed.add(option, value);
      }
    }
    rest.addAll(words.subList(i, words.size()));
    if (operands.isEmpty() && !rest.isEmpty() && !parsed.has(HELP.name())) {
      throw usageError("unexpected argument '" + rest.getFirst() + "'");
    }
    parsed.operands(rest);
    return parsed;
  }

  private Option find(String word) {
    for (Option option : options) {
      if (option.name().equals(word)
          || (option.letter() != 0 && word.equals("-" + option.letter()))) {
        return option;
      }
    }
    String near = nearest(word, options.stream().map(Option::name).toList());
    throw usageError(
        "unknown option '" + word + "'" + (near.isEmpty() ? "" : "; did you mean " + near + "?"));
  }

  /** A failure because of the command's arguments; it names where help is. */
  Failure usageError(String message) {
    return new Failure(message + "\nTry '" + fullName() + " --help'.");
  }

  /** The one of {@code names} that {@code word} is most likely meant to be, or an empty string. */
  static String nearest(String word, List<String> names) {
    String best = "";
    int least = Math.min(TOO_FAR, word.length() / 2 + 1);
    for (String name : names) {
      int distance = name.startsWith(word) && word.length() > 2 ? 1 : distance(word, name);
      if (distance < least) {
        least = distance;
        best = name;
      }
    }
    return best;
  }

  /** Levenshtein's distance. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int substituted = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(substituted, Math.min(row[j - 1], row[j]) + 1);
      }
    }
    return row[b.length()];
  }

  /** The help, line by line. */
  List<String> help() {
    List<String> lines = new ArrayList<>();
    lines.add("Usage: " + fullName() + " [OPTIONS]" + (operands.isEmpty() ? "" : " " + operands));
    lines.add("");
    lines.add(summary);
    if (!description.isEmpty()) {
      lines.add("");
      lines.addAll(description);
    }
    lines.add("");
    lines.add("Options:");
    for (Option option : options) {
      String usage = "  " + option.usage();
      if (usage.length() >= HELP_COLUMN) {
        lines.add(usage);
        usage = "";
      }
      for (String line : option.help()) {
        lines.add(String.format("%-" + HELP_COLUMN + "s%s", usage, line));
        usage = "";
      }
    }
    if (!examples.isEmpty()) {
      lines.add("");
      lines.add("Examples:");
      lines.addAll(examples);
    }
    return lines;
  }
}
