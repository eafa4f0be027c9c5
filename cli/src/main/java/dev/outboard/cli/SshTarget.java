// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * {@code ssh://[USER@]HOST[:PORT][/PATH]}: a machine where {@code outboard device --stdio} is to be
 * started by the system's {@code ssh}, with what the user has in {@code ~/.ssh}.
 *
 * @param destination as ssh wants it: {@code USER@HOST} or {@code HOST}
 * @param port null for ssh's own choice
 * @param outboard the launcher there: a path, or a name that is looked up in PATH
 */
record SshTarget(String destination, @Nullable String port, String outboard) {
  static final String SCHEME = "ssh://";

  /** Another program in place of {@code ssh}, which understands the same arguments. */
  private static final String SSH_VARIABLE = "OUTBOARD_SSH";

  // No destination may begin with a dash: ssh would take it for an option.
  private static final Pattern FORM =
      Pattern.compile(
          "ssh://((?:[A-Za-z0-9_][^@/:]*@)?(?:[A-Za-z0-9_][^@/:\\[\\]]*|\\[[0-9A-Fa-f:.]+\\]))"
              + "(?::([0-9]{1,5}))?(/.*)?");

  /** The target that {@code text} names; null if it names none. */
  static @Nullable SshTarget parse(String text) {
    Matcher m = FORM.matcher(text);
    if (!m.matches()) {
      return null;
    }
    String path = m.group(3);
    return new SshTarget(
        m.group(1).replaceAll("[\\[\\]]", ""),
        m.group(2),
        path == null || path.equals("/") ? "outboard" : path);
  }

  /**
   * The command that connects standard input and output to a device there.
   *
   * @param settings the device's, as words
   */
  List<String> command(List<String> settings) {
    // There is no terminal to ask on: it is the program's. No escape character in what is bytes.
    String ssh = System.getenv().getOrDefault(SSH_VARIABLE, "ssh");
    List<String> command = new ArrayList<>(List.of(ssh, "-T", "-e", "none", "-o", "BatchMode=yes"));
    if (port != null) {
      command.addAll(List.of("-p", port));
    }
    StringBuilder there =
        new StringBuilder("exec ").append(quoted(outboard)).append(" device --stdio");
    settings.forEach(word -> there.append(' ').append(quoted(word)));
    command.addAll(List.of("--", destination, there.toString()));
    return command;
  }

  /** A word as a POSIX shell takes it. */
  static String quoted(String word) {
    return "'" + word.replace("'", "'\\''") + "'";
  }
}
