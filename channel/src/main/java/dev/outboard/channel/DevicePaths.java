// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.nio.charset.StandardCharsets;

/**
 * What a path must be like so that a device may call it its own: the form in which {@link
 * Welcome#devicePaths} lists them. The path itself and everything below it are the device's.
 */
public final class DevicePaths {
  /** How many paths a device may list. */
  public static final int MAX_PATHS = 32;

  /** The longest one, in bytes of UTF-8. */
  public static final int MAX_BYTES = 1024;

  private DevicePaths() {}

  /**
   * Whether {@code path} is absolute and says each name once: no empty, {@code .} or {@code ..}
   * component, no slash at its end, not the root itself, no control character.
   */
  public static boolean valid(String path) {
    if (path.length() < 2
        || path.charAt(0) != '/'
        || path.getBytes(StandardCharsets.UTF_8).length > MAX_BYTES
        || path.chars().anyMatch(Character::isISOControl)) {
      return false;
    }
    for (String name : path.substring(1).split("/", -1)) {
      if (name.isEmpty() || name.equals(".") || name.equals("..")) {
        return false;
      }
    }
    return true;
  }
}
