// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;

/**
 * Files of the device's machine that the device's programs see: the value of {@code --export} or
 * {@code --disk}, {@code SOURCE[:AT][:ro]}. A value; any thread.
 *
 * @param disk whether the source is an image of a file system, and not a directory
 * @param source absolute, on the device's machine
 * @param at where programs see it; absolute, without empty names, {@code .} or {@code ..}
 * @param readOnly whether programs may only read
 */
public record ExportSpec(boolean disk, Path source, String at, boolean readOnly) {
  private static final int MAX_PATH_BYTES = 1024;

  /** What the device's kernel has there itself. */
  private static final List<String> TAKEN = List.of("/proc", "/sys", "/dev");

  /**
   * Parses the value of {@code --export}.
   *
   * @throws IllegalArgumentException if it is not one; the message is one sentence for the user
   */
  public static ExportSpec directory(String text) {
    return parse("--export", false, text);
  }

  /**
   * Parses the value of {@code --disk}.
   *
   * @throws IllegalArgumentException if it is not one; the message is one sentence for the user
   */
  public static ExportSpec disk(String text) {
    return parse("--disk", true, text);
  }

  private static ExportSpec parse(String option, boolean disk, String text) {
    String rest = text;
    boolean readOnly = rest.endsWith(":ro");
    if (readOnly) {
      rest = rest.substring(0, rest.length() - 3);
    }
    int colon = rest.indexOf(':');
    String from = colon < 0 ? rest : rest.substring(0, colon);
    if (from.isEmpty()) {
      throw new IllegalArgumentException(
          option
              + " "
              + text
              + ": it names nothing; use "
              + (disk ? "FILE" : "DIR")
              + "[:AT][:ro]");
    }
    Path source;
    try {
      source = Path.of(from).toAbsolutePath().normalize();
    } catch (InvalidPathException e) {
      throw new IllegalArgumentException(option + " " + text + ": that is no path");
    }
    String at = colon < 0 ? source.toString() : rest.substring(colon + 1);
    if (!at.startsWith("/")) {
      throw new IllegalArgumentException(
          option + " " + text + ": where programs are to see it must be an absolute path");
    }
    at = Path.of(at).normalize().toString();
    if (at.equals("/")) {
      throw new IllegalArgumentException(
          option + " " + text + ": programs cannot see it at /, only below");
    }
    if (at.getBytes(StandardCharsets.UTF_8).length > MAX_PATH_BYTES
        || at.chars().anyMatch(c -> Character.isISOControl(c) || "*?:".indexOf(c) >= 0)) {
      throw new IllegalArgumentException(
          option
              + ": where programs are to see it has at most "
              + MAX_PATH_BYTES
              + " bytes, no control character, colon, * or ?");
    }
    for (String taken : TAKEN) {
      if (at.equals(taken) || at.startsWith(taken + "/")) {
        throw new IllegalArgumentException(
            option + " " + text + ": " + taken + " is the device's kernel's own");
      }
    }
    return new ExportSpec(disk, source, at, readOnly);
  }

  /** What it is, for messages: {@code the export /srv} or {@code the disk /images/a}. */
  public String title() {
    return (disk ? "the disk " : "the export ") + source;
  }
}
