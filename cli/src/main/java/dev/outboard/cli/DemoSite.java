// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The demo's files in a temporary directory, nginx's configuration to serve them, and curl to fetch
 * them. Used by one thread, but for {@link #isClient}.
 */
final class DemoSite implements AutoCloseable {
  private static final int SMALL_BYTES = 1024;
  private static final int LARGE_BYTES = 100 << 20;
  private static final int BLOCK_BYTES = 1 << 20;
  private static final int FETCH_SECONDS = 120;
  private static final long CURL_CONNECT_FAILED = 7;

  private final Path directory;
  private final Map<String, String> digests = new LinkedHashMap<>();
  private final Thread remover;
  private volatile long client;

  /**
   * One file fetched.
   *
   * @param name of the file
   * @param bytes of it
   * @param seconds that it took, connection included
   * @param digest SHA-256 of what arrived
   * @param same whether that is what was served
   */
  record Fetch(String name, long bytes, double seconds, String digest, boolean same) {}

  private DemoSite(Path directory) {
    this.directory = directory;
    this.remover = Thread.ofPlatform().unstarted(this::remove);
    // Also when the demo is interrupted.
    Runtime.getRuntime().addShutdownHook(remover);
  }

  /** Writes the files, with other contents each time. */
  static DemoSite create() throws IOException {
    for (String program : List.of("nginx", "curl")) {
      if (find(program) == null) {
        throw new Failure(
            "the demo needs "
                + program
                + ": apt-get install nginx-light curl (./outboard does it as root)");
      }
    }
    DemoSite site = new DemoSite(Files.createTempDirectory("outboard-demo."));
    Files.createDirectory(site.directory.resolve("files"));
    site.write("1k", SMALL_BYTES);
    site.write("100m", LARGE_BYTES);
    return site;
  }

  private static @Nullable Path find(String program) {
    return Machine.inPath(program)
        .or(() -> Stream.of(Path.of("/usr/sbin", program)).filter(Files::isExecutable).findFirst())
        .orElse(null);
  }

  private void write(String name, int bytes) throws IOException {
    MessageDigest digest = sha256();
    Random random = new Random();
    byte[] block = new byte[Math.min(bytes, BLOCK_BYTES)];
    try (OutputStream out = Files.newOutputStream(directory.resolve("files").resolve(name))) {
      for (int written = 0; written < bytes; written += block.length) {
        random.nextBytes(block);
        digest.update(block);
        out.write(block);
      }
    }
    digests.put(name, HexFormat.of().formatHex(digest.digest()));
  }

  /** The files' names, the small one first. */
  List<String> names() {
    return List.copyOf(digests.keySet());
  }

  /** The command that serves them on {@code port} of all addresses. */
  List<String> nginx(int port) throws IOException {
    boolean root = "root".equals(System.getProperty("user.name"));
    Path configuration = directory.resolve("nginx.conf");
    Files.writeString(
        configuration,
        String.format(
            Locale.ROOT,
            """
            daemon off;
            %sworker_processes 2;
            pid %2$s/nginx.pid;
            error_log stderr warn;
            events { worker_connections 64; }
            http {
              access_log off;
              sendfile on;
              client_body_temp_path %2$s/t1;
              proxy_temp_path %2$s/t2;
              fastcgi_temp_path %2$s/t3;
              uwsgi_temp_path %2$s/t4;
              scgi_temp_path %2$s/t5;
              server { listen %3$d; root %2$s/files; }
            }
            """,
            root ? "user root;\n" : "",
            directory,
            port));
    return List.of(
        String.valueOf(find("nginx")),
        "-e",
        "stderr",
        "-p",
        directory.toString(),
        "-c",
        configuration.toString());
  }

  /** Waits until the server answers; gives up when {@code over} or after so many seconds. */
  void awaitServer(String url, int seconds, BooleanSupplier over)
      throws IOException, InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    for (; ; ) {
      int status = curl(url + "/1k", Path.of("/dev/null"));
      if (status == 0) {
        return;
      }
      if (status != CURL_CONNECT_FAILED
          || over.getAsBoolean()
          || System.nanoTime() - deadline > 0) {
        throw new Failure("nginx does not answer at " + url + " (curl says " + status + ")");
      }
      Thread.sleep(20);
    }
  }

  /** Fetches a file with curl; {@link #compare} looks at what came. */
  double fetch(String url, String name) throws IOException, InterruptedException {
    long start = System.nanoTime();
    int status = curl(url + "/" + name, directory.resolve("fetched-" + name));
    double seconds = (System.nanoTime() - start) / 1e9;
    if (status != 0) {
      throw new Failure("curl could not fetch " + url + "/" + name + ": status " + status);
    }
    return seconds;
  }

  /** Compares what was fetched with what was served. */
  Fetch compare(String name, double seconds) throws IOException {
    Path fetched = directory.resolve("fetched-" + name);
    MessageDigest digest = sha256();
    try (InputStream in = new DigestInputStream(Files.newInputStream(fetched), digest)) {
      in.transferTo(OutputStream.nullOutputStream());
    }
    String arrived = HexFormat.of().formatHex(digest.digest());
    return new Fetch(
        name, Files.size(fetched), seconds, arrived, arrived.equals(digests.get(name)));
  }

  private int curl(String url, Path to) throws IOException, InterruptedException {
    Process curl =
        new ProcessBuilder(
                "curl",
                "--silent",
                "--fail",
                "--noproxy",
                "*",
                "--max-time",
                Integer.toString(FETCH_SECONDS),
                "--output",
                to.toString(),
                url)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    client = curl.pid();
    int status = curl.waitFor();
    client = 0;
    return status;
  }

  /** Whether that process is curl: this process waits for it, not the hook. */
  boolean isClient(int pid) {
    return client == pid;
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  private void remove() {
    try (Stream<Path> paths = Files.walk(directory)) {
      for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(path);
      }
    } catch (IOException e) {
      System.err.println("outboard: cannot remove " + directory + ": " + e.getMessage());
    }
  }

  @Override
  public void close() {
    try {
      Runtime.getRuntime().removeShutdownHook(remover);
      remove();
    } catch (IllegalStateException e) {
      // The JVM is ending already, and removes them.
    }
  }
}
