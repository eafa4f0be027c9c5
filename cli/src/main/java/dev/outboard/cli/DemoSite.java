// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.relay.Identity;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
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

  /**
   * What curl says of a server that does not listen yet: it could not connect, got no reply, or a
   * reset, for passt takes connections to a published port before it asks the device.
   */
  private static final Set<Integer> CURL_NOT_YET = Set.of(7, 52, 56);

  private static final String SMALL = "1k";
  private static final String LARGE = "100m";
  private static final String CERTIFICATE = "certificate.pem";
  private static final String KEY = "key.pem";

  /** In which nginx says what it and the client have agreed on. */
  private static final String HEADER = "TLS:";

  private final Path directory;
  private final Map<String, String> digests = new LinkedHashMap<>();
  private final Thread remover;
  private volatile long client;

  /** How curl fetches a file. */
  enum By {
    HTTP,
    /** Of this OpenSSL leaves both directions to a kernel. */
    TLS_1_2,
    /** Of this, before OpenSSL 3.2, only sending. */
    TLS_1_3;

    boolean isTls() {
      return this != HTTP;
    }

    String scheme() {
      return isTls() ? "https" : "http";
    }

    /** Of curl, so that it is nothing else. */
    List<String> options() {
      return switch (this) {
        case HTTP -> List.of();
        case TLS_1_2 -> List.of("--tlsv1.2", "--tls-max", "1.2");
        case TLS_1_3 -> List.of("--tlsv1.3");
      };
    }
  }

  /** Something to fetch. */
  record Request(String name, By by) {
    /** For people. */
    String title() {
      return String.format(Locale.ROOT, "%-5s /%s", by.scheme(), name);
    }
  }

  /** In the order of the report. */
  static final List<Request> REQUESTS =
      List.of(
          new Request(SMALL, By.HTTP),
          new Request(LARGE, By.HTTP),
          new Request(SMALL, By.TLS_1_2),
          new Request(LARGE, By.TLS_1_3));

  /**
   * One file fetched.
   *
   * @param bytes of it
   * @param seconds that it took, connection included
   * @param digest SHA-256 of what arrived
   * @param same whether that is what was served
   */
  record Fetch(Request request, long bytes, double seconds, String digest, boolean same) {}

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
    site.write(SMALL, SMALL_BYTES);
    site.write(LARGE, LARGE_BYTES);
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

  /**
   * The command that serves them on all addresses, by HTTPS as the one given.
   *
   * @param seen the address that clients use
   */
  List<String> nginx(InetAddress seen) throws IOException {
    KeyFiles.requireOpenSsl();
    Identity identity = Identity.create("outboard demo");
    Files.createFile(
        directory.resolve(KEY),
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(directory.resolve(KEY), identity.pem());
    Files.writeString(directory.resolve(CERTIFICATE), identity.certificatePem(seen));
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
              root %2$s/files;
              server { listen %3$d; }
              server {
                listen %4$d ssl;
                ssl_certificate %2$s/%5$s;
                ssl_certificate_key %2$s/%6$s;
                ssl_protocols TLSv1.2 TLSv1.3;
                ssl_conf_command Options KTLS;
                add_header %7$s "$ssl_protocol $ssl_cipher";
              }
            }
            """,
            root ? "user root;\n" : "",
            directory,
            DemoNetwork.PORT,
            DemoNetwork.TLS_PORT,
            CERTIFICATE,
            KEY,
            HEADER.substring(0, HEADER.length() - 1)));
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
  void awaitServer(DemoNetwork network, int seconds, BooleanSupplier over)
      throws IOException, InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    Request request = REQUESTS.getFirst();
    String url = network.url(request);
    for (; ; ) {
      int status = curl(request, url);
      if (status == 0) {
        return;
      }
      if (!CURL_NOT_YET.contains(status)
          || over.getAsBoolean()
          || System.nanoTime() - deadline > 0) {
        throw new Failure("nginx does not answer at " + url + " (curl says " + status + ")");
      }
      Thread.sleep(20);
    }
  }

  /** Fetches a file with curl, in seconds; {@link #compare} looks at what came. */
  double fetch(Request request, String url) throws IOException, InterruptedException {
    long start = System.nanoTime();
    int status = curl(request, url);
    double seconds = (System.nanoTime() - start) / 1e9;
    if (status != 0) {
      throw new Failure("curl could not fetch " + url + ": status " + status);
    }
    return seconds;
  }

  /** Compares what was fetched with what was served. */
  Fetch compare(Request request, double seconds) throws IOException {
    Path fetched = body(request);
    MessageDigest digest = sha256();
    try (InputStream in = new DigestInputStream(Files.newInputStream(fetched), digest)) {
      in.transferTo(OutputStream.nullOutputStream());
    }
    String arrived = HexFormat.of().formatHex(digest.digest());
    return new Fetch(
        request,
        Files.size(fetched),
        seconds,
        arrived,
        arrived.equals(digests.get(request.name())));
  }

  /** The version of TLS and the cipher that were agreed on, as nginx names them. */
  String agreed(Request request) throws IOException {
    return Files.readAllLines(headers(request)).stream()
        .filter(l -> l.regionMatches(true, 0, HEADER, 0, HEADER.length()))
        .map(l -> l.substring(HEADER.length()).strip())
        .findFirst()
        .orElse("?");
  }

  private Path body(Request request) {
    return directory.resolve(request.by() + "-" + request.name());
  }

  private Path headers(Request request) {
    return directory.resolve(request.by() + "-" + request.name() + "-headers");
  }

  private int curl(Request request, String url) throws IOException, InterruptedException {
    // First --disable: what the user's own configuration says may be anything.
    List<String> command = new ArrayList<>(List.of("curl", "--disable", "--silent", "--fail"));
    command.addAll(List.of("--noproxy", "*", "--max-time", Integer.toString(FETCH_SECONDS)));
    if (request.by().isTls()) {
      command.addAll(request.by().options());
      command.addAll(List.of("--cacert", directory.resolve(CERTIFICATE).toString()));
      command.addAll(List.of("--dump-header", headers(request).toString()));
    }
    command.addAll(List.of("--output", body(request).toString(), url));
    Process curl =
        new ProcessBuilder(command)
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
