// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What {@code outboard run --stats=FILE} wrote about a whole run of a program, its start included.
 *
 * @param calls by name, as they were written
 * @param channelToDevice bytes that went from host to device; NaN if it was not said
 * @param channelFromDevice bytes that came back; NaN if it was not said
 */
record RunStatistics(List<Call> calls, double channelToDevice, double channelFromDevice) {
  /** How often a call was carried out by whom, and its payload. */
  record Call(String name, double device, double host, double hook, double bytes) {}

  /** From that file; null if there is none or it holds something else. */
  static @Nullable RunStatistics read(@Nullable Path file) {
    if (file == null) {
      return null;
    }
    try {
      return parse(Files.readString(file));
    } catch (IOException | IllegalArgumentException e) {
      return null;
    }
  }

  /** Fields that are not there count as 0, or for the channel as not known. */
  static RunStatistics parse(String text) {
    Object all = Json.read(text);
    List<Call> calls = new ArrayList<>();
    if (Json.at(all, "calls") instanceof List<?> list) {
      for (Object c : list) {
        if (Json.at(c, "name") instanceof String name) {
          calls.add(
              new Call(
                  name,
                  Json.number(c, 0, "device"),
                  Json.number(c, 0, "host"),
                  Json.number(c, 0, "hook"),
                  Json.number(c, 0, "bytes")));
        }
      }
    }
    return new RunStatistics(
        List.copyOf(calls),
        Json.number(all, Double.NaN, "channel", "toDevice"),
        Json.number(all, Double.NaN, "channel", "fromDevice"));
  }

  /** Calls that were trapped, whoever carried them out. */
  double trapped() {
    return calls.stream().mapToDouble(c -> c.device + c.host + c.hook).sum();
  }

  /** Calls that the device carried out. */
  double onDevice() {
    return calls.stream().mapToDouble(Call::device).sum();
  }

  /** Bytes over the channel in both directions; NaN if not known. */
  double channelBytes() {
    return channelToDevice + channelFromDevice;
  }
}
