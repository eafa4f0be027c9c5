// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * A host and a device that reach each other by TCP, with keys of their own, each in a directory of
 * the trial's; both are this machine.
 */
public final class Machines {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  private final Trial trial;

  /** Nobody has a key yet. */
  public Machines(Trial trial) {
    this.trial = trial;
  }

  /** {@code outboard}, as one of the two: {@code host} or {@code device}. */
  public Command as(String who, String... words) {
    List<String> line = new ArrayList<>(List.of(Programs.launcher().toString()));
    line.addAll(List.of(words));
    return trial
        .machine(line.toArray(String[]::new))
        .environment("OUTBOARD_KEYS", trial.directory().resolve(who + "-keys").toString());
  }

  /** What {@code outboard status} says to one of the two of what listens at a port. */
  public String status(String who, int port) {
    return as(who, "status", "--device=tcp://127.0.0.1:" + port)
        .run(LIMIT)
        .expectSuccess()
        .output();
  }

  /** Both get keys; the host knows the device at these ports, the device lets the host come. */
  public void introduce(int... ports) {
    String host = line("host");
    String device = line("device");
    // As 'outboard keys add' writes them; a command for each would take longer than the rest.
    trial.file("device-keys/authorized_hosts", host + "\n");
    trial.file(
        "host-keys/known_devices",
        IntStream.of(ports)
            .mapToObj(p -> "127.0.0.1:" + p + " " + device + "\n")
            .collect(Collectors.joining()));
  }

  /** Another host gets a key; it knows the device as the first one does, which lets it come. */
  public void introduce(String who, int port) {
    meet(who, port);
    Path hosts = trial.directory().resolve("device-keys/authorized_hosts");
    try {
      Files.writeString(hosts, line(who) + "\n", StandardOpenOption.APPEND);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Another host gets a key and knows the device, which does not know it. */
  public void meet(String who, int port) {
    line(who);
    trial.file(who + "-keys/known_devices", "127.0.0.1:" + port + " " + line("device") + "\n");
  }

  private String line(String who) {
    return as(who, "keys").run(LIMIT).expectSuccess().output().strip();
  }

  /** The service of the device, at a port of which the host knows; it listens. */
  public Running service(int port, String... options) {
    List<String> line = new ArrayList<>(List.of("device", "--listen=tcp:127.0.0.1:" + port));
    line.addAll(List.of(options));
    Running service = as("device", line.toArray(String[]::new)).start();
    service.awaitErrors(LIMIT, "listening at .*tcp:");
    return service;
  }

  /** A program of the host whose device is at a port. */
  public Command run(int port, List<String> options, String... program) {
    List<String> line = new ArrayList<>(List.of("run", "--device=tcp://127.0.0.1:" + port));
    line.addAll(options);
    line.add("--");
    line.addAll(List.of(program));
    return as("host", line.toArray(String[]::new));
  }

  /** The same with a time for going on after a break, and figures in {@code stats.PORT}. */
  public Command program(int port, String reconnect, String... program) {
    return run(
        port,
        List.of(
            "--reconnect=" + reconnect, "--stats=" + trial.directory().resolve("stats." + port)),
        program);
  }
}
