// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;

/**
 * Files by nginx, one worker, fetched by wrk on 32 connections. Those of 1 MiB lie in an export, on
 * the device; of 1 KiB there is one of each side, as of them the requests count. With TLS (1.3,
 * AES-128-GCM) nginx encrypts by itself natively and leaves it to the kernel's TLS when it is
 * offloaded.
 */
final class NginxWorkload implements Workload {
  /** What is fetched. */
  enum Kind {
    /** Bytes of an export. */
    FILES("sendfile", "nginx HTTP by wrk, files of an export"),
    /** The same, encrypted. */
    FILES_BY_TLS("ktls", "nginx HTTPS by wrk: offloaded with kernel TLS, native with its own"),
    /** Little, often. */
    REQUESTS("requests", "nginx HTTP by wrk, a small file of the host and one of an export");

    private final String word;
    private final String title;

    Kind(String word, String title) {
      this.word = word;
      this.title = title;
    }

    private List<Measure> measures() {
      return switch (this) {
        case FILES -> List.of(Measure.of("1m", "HTTP, files of 1 MiB", Measure.Unit.BYTES));
        case FILES_BY_TLS -> List.of(Measure.of("1m", "HTTPS, files of 1 MiB", Measure.Unit.BYTES));
        case REQUESTS ->
            List.of(
                Measure.of(HOST_FILE, "HTTP, 1 KiB of the host", Measure.Unit.REQUESTS),
                Measure.of("1k", "HTTP, 1 KiB of an export", Measure.Unit.REQUESTS));
      };
    }
  }

  private static final int LARGE_BYTES = 1 << 20;
  private static final int SMALL_BYTES = 1 << 10;

  /** A path of the server's that is no file of the export's. */
  private static final String HOST_FILE = "1k_host";

  /**
   * wrk counts whole seconds, but ends well at SIGINT once its threads are there, which is when it
   * begins. Until it has a handler a shell's child in the background ignores that.
   */
  private static final String FOR_SECONDS =
      """
      seconds=$1; shift
      "$@" & client=$!
      while [ "$(ls /proc/$client/task 2>/dev/null | wc -l)" = 1 ]; do sleep 0.01; done
      sleep "$seconds"
      while kill -INT $client 2>/dev/null; do sleep 0.05; done
      wait $client
      """;

  private static final int PATIENCE_SECONDS = 20;

  /** In so many seconds something has come, or there is something wrong. */
  private static final double LONG_SECONDS = 2;

  private static final double LONGER = 4;
  private static final Tool NGINX = new Tool("nginx", "nginx-light");
  private static final Tool WRK = new Tool("wrk", "wrk");
  private static final Tool OPENSSL = new Tool("openssl", "openssl");

  /** nginx falls back from the kernel's TLS without a word: the kernel's own count tells. */
  private static final String TLS_COUNTS = "/proc/net/tls_stat";

  /** What wrk calls at its end. */
  private static final String REPORT =
      """
      done = function(summary, latency, requests)
        local e = summary.errors
        io.write(string.format('{"amount": %d, "seconds": %.6f, "errors": %d}\\n',
          summary.AMOUNT, summary.duration / 1e6,
          e.connect + e.read + e.write + e.status + e.timeout))
      end
      """;

  private final Kind kind;
  private final boolean tls;

  NginxWorkload(Kind kind) {
    this.kind = kind;
    this.tls = kind == Kind.FILES_BY_TLS;
  }

  @Override
  public String name() {
    return kind.word;
  }

  @Override
  public String title() {
    return kind.title;
  }

  @Override
  public List<Tool> tools() {
    return tls ? List.of(NGINX, WRK, OPENSSL) : List.of(NGINX, WRK);
  }

  @Override
  public boolean network() {
    return true;
  }

  @Override
  public List<List<Measure>> runs() {
    // One of each, for each has statistics of its own.
    return kind.measures().stream().map(List::of).toList();
  }

  private static Path files(Site site) {
    return site.directory().resolve("files");
  }

  private static Path hostFiles(Site site) {
    return site.directory().resolve("host");
  }

  private Path report(Site site) {
    return site.directory().resolve("report-" + kind.word + ".lua");
  }

  @Override
  public void prepare(Site site) throws BenchException, InterruptedException {
    try {
      if (!Files.exists(files(site))) {
        Files.createDirectory(files(site));
        Files.createDirectory(hostFiles(site));
        byte[] content = new byte[LARGE_BYTES];
        new Random(1).nextBytes(content);
        Files.write(files(site).resolve("1m"), content);
        byte[] little = Arrays.copyOf(content, SMALL_BYTES);
        Files.write(files(site).resolve("1k"), little);
        Files.write(hostFiles(site).resolve("1k"), little);
      }
      Files.writeString(
          report(site), REPORT.replace("AMOUNT", kind == Kind.REQUESTS ? "requests" : "bytes"));
    } catch (IOException e) {
      throw new BenchException("cannot write files: " + e.getMessage(), e);
    }
    if (tls) {
      site.run(
          List.of(
              OPENSSL.path(),
              "req",
              "-x509",
              "-newkey",
              "ec",
              "-pkeyopt",
              "ec_paramgen_curve:P-256",
              "-nodes",
              "-days",
              "1",
              "-subj",
              "/CN=outboard-bench",
              "-keyout",
              site.directory().resolve("key.pem").toString(),
              "-out",
              site.directory().resolve("certificate.pem").toString()),
          PATIENCE_SECONDS);
    }
  }

  private boolean kernelTls(Mode mode) {
    return tls && mode instanceof OutboardMode;
  }

  @Override
  public Program program(Mode mode, Place place) throws BenchException {
    Path configuration = place.directory().resolve("nginx.conf");
    String server =
        tls
            ? String.format(
                Locale.ROOT,
                """
                listen %d ssl;
                ssl_certificate %2$s/certificate.pem;
                ssl_certificate_key %2$s/key.pem;
                ssl_protocols TLSv1.3;
                ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
                %3$s\
                """,
                place.port(),
                place.site().directory(),
                kernelTls(mode) ? "ssl_conf_command Options KTLS;" : "")
            : "listen " + place.port() + ";";
    try {
      Files.writeString(
          configuration,
          String.format(
              Locale.ROOT,
              """
              daemon off;
              %1$sworker_processes 1;
              pid %2$s/pid;
              error_log stderr warn;
              events { worker_connections 256; }
              http {
                access_log off;
                sendfile on;
                tcp_nopush on;
                keepalive_requests 1000000000;
                client_body_temp_path %2$s/t1;
                proxy_temp_path %2$s/t2;
                fastcgi_temp_path %2$s/t3;
                uwsgi_temp_path %2$s/t4;
                scgi_temp_path %2$s/t5;
                server { root %3$s;
              %4$s
                location = /%6$s { alias %5$s/1k; }
                }
              }
              """,
              Site.mayHaveNetwork() ? "user root;\n" : "",
              place.directory(),
              files(place.site()),
              server,
              hostFiles(place.site()),
              HOST_FILE));
    } catch (IOException e) {
      throw new BenchException("cannot write " + configuration + ": " + e.getMessage(), e);
    }
    List<String> nginx =
        List.of(
            NGINX.path(),
            "-e",
            "stderr",
            "-p",
            place.directory().toString(),
            "-c",
            configuration.toString());
    return new Program(kernelTls(mode) ? countingTls(nginx) : nginx, files(place.site()), false);
  }

  /** The same, and what the kernel that served it counted goes to a file at the end. */
  private static List<String> countingTls(List<String> nginx) {
    return Site.joined(
        List.of(
            "sh",
            "-c",
            "trap 'kill -TERM $nginx' TERM; \"$@\" & nginx=$!; wait $nginx; wait $nginx; cat "
                + TLS_COUNTS
                + " >tls_stat",
            "sh"),
        nginx);
  }

  @Override
  public Sample.Work traffic(Server server, Measure measure, double seconds, double rate)
      throws BenchException, InterruptedException {
    // On a busy machine nothing may have come in a short time: then that is no sample yet.
    for (double length = seconds; ; length *= LONGER) {
      String report = fetch(server, measure, length);
      double errors = Json.number(Json.read(report), 0, "errors");
      if (errors > 0) {
        throw new BenchException("wrk had " + (long) errors + " errors");
      }
      if (length >= LONG_SECONDS || Json.number(Json.read(report), 0, "amount") > 0) {
        return CPrograms.work(report);
      }
    }
  }

  /** The line that wrk writes at its end. */
  private String fetch(Server server, Measure measure, double seconds)
      throws BenchException, InterruptedException {
    String said =
        server.client(
            measure,
            List.of(
                "sh",
                "-c",
                FOR_SECONDS,
                "sh",
                String.format(Locale.ROOT, "%.3f", seconds),
                WRK.path(),
                "-t1",
                "-c32",
                "-d" + (int) Math.ceil(seconds + PATIENCE_SECONDS),
                "-s",
                report(server.place().site()).toString(),
                (tls ? "https://" : "http://")
                    + server.address()
                    + ":"
                    + server.place().port()
                    + "/"
                    + measure.key()),
            seconds + PATIENCE_SECONDS);
    return said.lines()
        .filter(l -> l.startsWith("{"))
        .findFirst()
        .orElseThrow(() -> new BenchException("wrk reports nothing: " + Site.shortened(said)));
  }

  @Override
  public List<String> notes(Mode mode, Place place) {
    if (!kernelTls(mode)) {
      return List.of();
    }
    try {
      long sessions = sessions(Files.readString(place.directory().resolve("tls_stat")));
      return List.of(
          sessions > 0
              ? "the kernel encrypted " + sessions + " connections (TlsTxSw)"
              : "the kernel did NOT encrypt: nginx fell back to its own TLS");
    } catch (IOException e) {
      return List.of("whether the kernel encrypted is not known: it has no " + TLS_COUNTS);
    }
  }

  /** Connections for which a kernel has encrypted, by its {@code /proc/net/tls_stat}. */
  static long sessions(String counts) {
    return counts
        .lines()
        .filter(l -> l.startsWith("TlsTxSw"))
        .mapToLong(l -> Long.parseLong(l.substring("TlsTxSw".length()).strip()))
        .sum();
  }
}
