// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * Where it is measured: a temporary directory and, as root, two network namespaces with a veth pair
 * between them. The client is in one; the native program is in the other; a device has its TAP in
 * the client's. Nothing of the machine's own network is touched.
 *
 * <p>All that is made or started here goes in {@link #close}, which the JVM's end calls too.
 */
final class Site implements AutoCloseable {
  static final String CLIENT_ADDRESS = "10.77.0.1";
  static final String SERVER_ADDRESS = "10.77.0.2";

  private static final String PREFIX = "outboard-bench-";
  private static final Path NAMESPACES = Path.of("/run/netns");
  private static final int COMMAND_SECONDS = 20;
  private static final int OUTPUT_SHOWN = 600;

  private final Path launcher;
  private final Path directory;
  private final boolean network;
  private final String client;
  private final String server;
  private final Consumer<String> messages;
  private final Set<Process> processes = new LinkedHashSet<>();
  private final Thread atExit = Thread.ofPlatform().name("bench-removal").unstarted(this::remove);
  private boolean closed;
  private int places;

  private Site(Path launcher, Path directory, boolean network, Consumer<String> messages) {
    this.launcher = launcher;
    this.directory = directory;
    this.network = network;
    this.messages = messages;
    String name = PREFIX + ProcessHandle.current().pid();
    this.client = name + "-client";
    this.server = name + "-server";
  }

  /**
   * Makes it.
   *
   * @param network whether namespaces are wanted; {@link #mayHaveNetwork} says whether they can be
   */
  static Site create(Path launcher, boolean network, Consumer<String> messages)
      throws BenchException, InterruptedException {
    Path directory;
    try {
      String temporary = System.getenv().getOrDefault("TMPDIR", "/tmp");
      directory = Files.createTempDirectory(Path.of(temporary), PREFIX).toAbsolutePath();
      // The workers of a server may be other users.
      directory.toFile().setExecutable(true, false);
      directory.toFile().setReadable(true, false);
    } catch (IOException e) {
      throw new BenchException("cannot make a temporary directory: " + e.getMessage(), e);
    }
    Site site = new Site(launcher, directory, network, messages);
    Runtime.getRuntime().addShutdownHook(site.atExit);
    try {
      if (network) {
        site.removeStale();
        site.makeNetwork();
      }
      return site;
    } catch (BenchException | InterruptedException e) {
      site.close();
      throw e;
    }
  }

  /** Whether this user may make namespaces and interfaces. */
  static boolean mayHaveNetwork() {
    return "root".equals(System.getProperty("user.name"));
  }

  private void makeNetwork() throws BenchException, InterruptedException {
    ip("netns", "add", client);
    ip("netns", "add", server);
    ip("-n", client, "link", "set", "lo", "up");
    ip("-n", server, "link", "set", "lo", "up");
    ip("-n", client, "link", "add", "veth", "type", "veth", "peer", "eth0", "netns", server);
    ip("-n", client, "addr", "add", CLIENT_ADDRESS + "/24", "dev", "veth");
    ip("-n", client, "link", "set", "veth", "up");
    ip("-n", server, "addr", "add", SERVER_ADDRESS + "/24", "dev", "eth0");
    ip("-n", server, "link", "set", "eth0", "up");
    // Peers take the interface of the default route for theirs.
    ip("-n", server, "route", "add", "default", "via", CLIENT_ADDRESS);
    ip("-n", client, "route", "add", "default", "via", SERVER_ADDRESS);
  }

  private void ip(String... words) throws BenchException, InterruptedException {
    run(joined(List.of("ip"), List.of(words)), COMMAND_SECONDS);
  }

  /** Namespaces of runs that were killed. */
  private void removeStale() throws InterruptedException {
    List<String> stale = new ArrayList<>();
    try (DirectoryStream<Path> all = Files.newDirectoryStream(NAMESPACES, PREFIX + "*")) {
      for (Path p : all) {
        String name = p.getFileName().toString();
        String[] parts = name.substring(PREFIX.length()).split("-", 2);
        if (ProcessHandle.of(Long.parseLong(parts[0])).isEmpty()) {
          stale.add(name);
        }
      }
    } catch (IOException | NumberFormatException e) {
      // There are none, or not ours.
      return;
    }
    for (String name : stale) {
      removeNamespace(name);
    }
  }

  Path directory() {
    return directory;
  }

  Path launcher() {
    return launcher;
  }

  /** A place for another run. */
  Place newPlace() throws BenchException {
    int number = ++places;
    try {
      return new Place(this, number, Files.createDirectory(directory.resolve("run" + number)));
    } catch (IOException e) {
      throw new BenchException("cannot write to " + directory + ": " + e.getMessage(), e);
    }
  }

  /** Words before a command in the client's namespace; none if {@code wanted} is false. */
  List<String> inClient(boolean wanted) {
    return wanted ? entering(client) : List.of();
  }

  /** Words before a command in the server's namespace; none if {@code wanted} is false. */
  List<String> inServer(boolean wanted) {
    return wanted ? entering(server) : List.of();
  }

  private static List<String> entering(String namespace) {
    return List.of("nsenter", "--net=" + NAMESPACES.resolve(namespace), "--");
  }

  static List<String> joined(List<String> first, List<String> second) {
    List<String> all = new ArrayList<>(first);
    all.addAll(second);
    return all;
  }

  /**
   * Starts a process that {@link #close} ends if it is still there.
   *
   * @param input whether its standard input is a pipe; otherwise it is empty
   * @param output whether its standard output is a pipe; otherwise it goes to {@code log}
   */
  Process start(List<String> command, Path log, boolean input, boolean output)
      throws BenchException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(command).directory(log.resolveSibling(".").toFile());
    builder.redirectError(ProcessBuilder.Redirect.appendTo(log.toFile()));
    if (!input) {
      builder.redirectInput(new File("/dev/null"));
    }
    if (!output) {
      builder.redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
    }
    synchronized (processes) {
      if (closed) {
        throw new InterruptedException("the site is being removed");
      }
      try {
        Process p = builder.start();
        processes.add(p);
        return p;
      } catch (IOException e) {
        throw new BenchException("cannot start " + command + ": " + e.getMessage(), e);
      }
    }
  }

  void forget(Process p) {
    synchronized (processes) {
      processes.remove(p);
    }
  }

  /**
   * Runs a command to its end.
   *
   * @return its standard output
   * @throws BenchException if it fails or takes longer than {@code seconds}; what it said is in it
   */
  String run(List<String> command, double seconds) throws BenchException, InterruptedException {
    Path error = directory.resolve("command.error");
    Path output = directory.resolve("command.output");
    Process p = null;
    try {
      Files.deleteIfExists(error);
      Files.deleteIfExists(output);
      // To a file: a pipe that a left-over child holds would have no end.
      p =
          start(
              joined(List.of("sh", "-c", "exec \"$@\" >command.output", "sh"), command),
              error,
              false,
              false);
      boolean ended = p.waitFor((long) (seconds * 1000), TimeUnit.MILLISECONDS);
      String said = Files.exists(output) ? Files.readString(output) : "";
      if (!ended || p.exitValue() != 0) {
        throw new BenchException(
            String.join(" ", command)
                + (ended ? ": status " + p.exitValue() : ": no end within " + (int) seconds + " s")
                + "; "
                + shortened(Files.readString(error) + said));
      }
      return said;
    } catch (IOException e) {
      throw new BenchException("cannot run " + command + ": " + e.getMessage(), e);
    } finally {
      if (p != null) {
        stop(p, 0);
      }
    }
  }

  static String shortened(String said) {
    String s = said.strip();
    return s.length() > OUTPUT_SHOWN ? "… " + s.substring(s.length() - OUTPUT_SHOWN) : s;
  }

  /** Ends a process, gently for so many seconds, and whatever is left below it. */
  void stop(Process p, int seconds) throws InterruptedException {
    List<ProcessHandle> below = p.descendants().toList();
    if (p.isAlive()) {
      if (seconds > 0) {
        p.destroy();
        p.waitFor(seconds, TimeUnit.SECONDS);
      }
      p.destroyForcibly().waitFor(COMMAND_SECONDS, TimeUnit.SECONDS);
    }
    below.forEach(ProcessHandle::destroyForcibly);
    forget(p);
  }

  private void removeNamespace(String name) throws InterruptedException {
    // Whatever is in there was started by a benchmark.
    for (String pid : plain("ip", "netns", "pids", name).lines().toList()) {
      ProcessHandle.of(Long.parseLong(pid.strip())).ifPresent(ProcessHandle::destroyForcibly);
    }
    plain("ip", "netns", "del", name);
  }

  /** A command of the removal, which goes on whatever one of them says. */
  private static String plain(String... command) throws InterruptedException {
    try {
      Process p =
          new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
      try (InputStream in = p.getInputStream()) {
        String said = new String(in.readAllBytes(), StandardCharsets.UTF_8);
        return p.waitFor() == 0 ? said : "";
      }
    } catch (IOException e) {
      return "";
    }
  }

  private void remove() {
    List<Process> left;
    synchronized (processes) {
      if (closed) {
        return;
      }
      closed = true;
      left = List.copyOf(processes);
    }
    try {
      // Before their parents go, and they with them out of sight.
      List<ProcessHandle> below = left.stream().flatMap(Process::descendants).toList();
      // All at once: each takes a moment to end.
      left.forEach(Process::destroy);
      for (Process p : left) {
        stop(p, 2);
      }
      below.forEach(ProcessHandle::destroyForcibly);
      if (network) {
        removeNamespace(client);
        removeNamespace(server);
      }
      try (Stream<Path> paths = Files.walk(directory)) {
        for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
          Files.deleteIfExists(path);
        }
      }
    } catch (IOException e) {
      messages.accept("cannot remove " + directory + ": " + e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    try {
      Runtime.getRuntime().removeShutdownHook(atExit);
    } catch (IllegalStateException e) {
      // The JVM is ending already, and removes it.
      return;
    }
    remove();
  }
}
