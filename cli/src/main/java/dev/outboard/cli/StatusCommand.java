// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.LinkException;
import dev.outboard.channel.ServiceStatus;
import java.nio.file.Path;
import java.util.List;

/** {@code outboard status}: what a service does. */
final class StatusCommand implements Command {
  private static final String DEVICE = "--device";
  private static final String WATCH = "--watch";
  private static final String JSON = "--json";
  private static final String UNIX = "unix:";

  /** Where a service listens that the unit in {@code scripts/} starts. */
  private static final String DEFAULT = UNIX + "/run/outboard/device.sock";

  /** Rates are of so long. */
  private static final long SAMPLE_MILLIS = 500;

  private static final long WATCH_MILLIS = 2000;

  /** Clears a terminal: the cursor home, and all from there. */
  private static final String CLEAR = "\033[H\033[J";

  @Override
  public Syntax syntax() {
    return new Syntax(
        "status",
        "",
        "Shows what a service ('outboard device --listen') does.",
        List.of(
            "Sessions, the programs in them, calls of the device's kernels and how long these took",
            "there, waiting included. Rates are of the last half second, with --watch of the last two."),
        List.of(
            Option.single(
                DEVICE,
                "unix:PATH",
                "The service, at a Unix socket where it listens (default:",
                DEFAULT + ")."),
            Option.flag(WATCH, (char) 0, "Again every two seconds, until interrupted."),
            Option.flag(JSON, (char) 0, "As a JSON object, with --watch one on each line.")),
        List.of("  outboard status --device unix:/run/ob.sock --watch"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    String device = arguments.value(DEVICE);
    if (device == null) {
      device = DEFAULT;
    }
    if (device.startsWith("tcp:")) {
      throw syntax()
          .usageError(
              "a service tells its status on its own machine, at a Unix socket: start it with"
                  + " --listen unix:PATH beside --listen tcp:PORT");
    }
    if (!device.startsWith(UNIX) || device.length() == UNIX.length()) {
      throw syntax().usageError("--device is unix:PATH, not '" + device + "'");
    }
    Path socket = Path.of(device.substring(UNIX.length())).toAbsolutePath();
    boolean json = arguments.has(JSON);
    boolean watch = arguments.has(WATCH);
    try {
      StatusReport report = StatusReport.of(ServiceStatus.ask(socket), null);
      do {
        Thread.sleep(watch && report.complete() ? WATCH_MILLIS : SAMPLE_MILLIS);
        report = StatusReport.of(ServiceStatus.ask(socket), report);
        if (json) {
          terminal.out().println(report.json());
        } else {
          terminal.out().print(watch ? CLEAR : "");
          report.lines().forEach(terminal.out()::println);
        }
        terminal.out().flush();
      } while (watch && !terminal.out().checkError());
      return ExitStatus.OK;
    } catch (LinkException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return ExitStatus.OURS;
    }
  }
}
