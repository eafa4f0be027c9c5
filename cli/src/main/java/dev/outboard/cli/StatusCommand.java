// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.LinkException;
import dev.outboard.channel.ServiceStatus;
import dev.outboard.relay.TcpAddress;
import java.nio.file.Path;
import java.util.List;

/** {@code outboard status}: what a service does. */
final class StatusCommand implements Command {
  private static final String DEVICE = "--device";
  private static final String WATCH = "--watch";
  private static final String JSON = "--json";
  private static final String UNIX = "unix:";
  private static final String TCP = "tcp://";

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
            "there, waiting included. Rates are of the last half second, with --watch of the last two.",
            "By tcp:// a host is told of its own sessions, and of all if the device's machine has its",
            "key as an operator's ('outboard keys add operator')."),
        List.of(
            Option.single(
                DEVICE,
                "unix:PATH|tcp://HOST:PORT",
                "The service, where it listens (default: " + DEFAULT + ")."),
            Option.flag(
                WATCH,
                (char) 0,
                "Again every two seconds, until interrupted. A service that goes away",
                "is waited for."),
            Option.flag(JSON, (char) 0, "As a JSON object, with --watch one on each line.")),
        List.of(
            "  outboard status --device unix:/run/ob.sock --watch",
            "  outboard status --device tcp://nic:7000"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    String device = arguments.value(DEVICE);
    if (device == null) {
      device = DEFAULT;
    }
    boolean json = arguments.has(JSON);
    boolean watch = arguments.has(WATCH);
    try (StatusPlace place = place(device)) {
      StatusReport report = StatusReport.of(place.ask(), null);
      do {
        Thread.sleep(watch && report.complete() ? WATCH_MILLIS : SAMPLE_MILLIS);
        ServiceStatus status;
        try {
          status = place.ask();
        } catch (LinkException e) {
          if (!watch) {
            throw e;
          }
          report = StatusReport.of(await(place, e, terminal), null);
          continue;
        }
        report = StatusReport.of(status, report);
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

  private StatusPlace place(String device) {
    if (device.startsWith(TCP)) {
      TcpAddress address = TcpAddress.parse(device.substring(TCP.length()));
      if (address == null) {
        throw syntax().usageError("--device is tcp://HOST:PORT, not '" + device + "'");
      }
      return new StatusPlace.Far(address, KeyFiles.ofThisUser());
    }
    if (device.startsWith(SshTarget.SCHEME)) {
      throw syntax()
          .usageError("by ssh, have it asked on its own machine: ssh HOST outboard status");
    }
    if (!device.startsWith(UNIX) || device.length() == UNIX.length()) {
      throw syntax().usageError("--device is unix:PATH or tcp://HOST:PORT, not '" + device + "'");
    }
    return new StatusPlace.Near(Path.of(device.substring(UNIX.length())).toAbsolutePath());
  }

  /**
   * Waits for a service that answers no more, and says so, and why.
   *
   * @throws LinkException if waiting is in vain
   */
  private static ServiceStatus await(StatusPlace place, LinkException lost, Terminal terminal)
      throws LinkException, InterruptedException {
    String said = "";
    for (LinkException e = lost; ; ) {
      String why = String.valueOf(e.getMessage());
      if (e.lasting()) {
        throw e;
      }
      if (!why.equals(said)) {
        terminal.say(why + (said.isEmpty() ? " Trying again." : ""));
        said = why;
      }
      Thread.sleep(WATCH_MILLIS);
      try {
        ServiceStatus status = place.ask();
        terminal.say(
            "it answers again; it has been there for "
                + StatusReport.age(status.service().ageMillis()));
        return status;
      } catch (LinkException again) {
        e = again;
      }
    }
  }
}
