// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Programs;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code outboard demo}, as a user calls it. */
class DemoTest {
  private static final int LIMIT_SECONDS = 240;

  @TempDir Path directory;
  private Path temporary;
  private Path programs;

  @BeforeEach
  void directories() throws IOException {
    for (String program : List.of("nginx", "curl")) {
      Programs.require(program);
    }
    temporary = Files.createDirectory(directory.resolve("temporary"));
    programs = Files.createDirectory(directory.resolve("programs"));
  }

  /** Runs it with {@link #programs} before all others, and gives its exit status. */
  private int demo(String... before) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(before));
    command.addAll(List.of(Programs.launcher().toString(), "demo"));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(directory.toFile())
            .redirectOutput(directory.resolve("output").toFile())
            .redirectError(directory.resolve("errors").toFile());
    builder.environment().merge("PATH", programs + ":", (path, ours) -> ours + path);
    builder.environment().put("JDK_JAVA_OPTIONS", "-Djava.io.tmpdir=" + temporary);
    Process demo = builder.start();
    try {
      assertThat(demo.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).as("it ends in time").isTrue();
      return demo.exitValue();
    } finally {
      demo.descendants().forEach(ProcessHandle::destroyForcibly);
      demo.destroyForcibly();
    }
  }

  private String read(String name) throws IOException {
    return Files.readString(directory.resolve(name), StandardCharsets.UTF_8);
  }

  private void program(String name, String script) throws IOException {
    Files.writeString(programs.resolve(name), "#!/bin/sh\n" + script);
    Files.setPosixFilePermissions(
        programs.resolve(name), PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private void nothingLeft() throws IOException {
    try (Stream<Path> left = Files.list(temporary)) {
      assertThat(left).isEmpty();
    }
  }

  private void contentsAndKeysAreRight() throws IOException {
    String output = read("output");
    assertThat(output)
        .containsPattern("http  /1k +1,024 .* as served")
        .containsPattern("http  /100m +104,857,600 .* as served")
        .containsPattern("https /1k +1,024 .* as served")
        .containsPattern("https /100m +104,857,600 .* as served")
        .doesNotContain("DIFFERS");
    // OpenSSL leaves receiving with 1.3 to a kernel from 3.2 on.
    assertThat(output)
        .containsPattern("https /1k +TLSv1\\.2 ECDHE-ECDSA-\\S+ +\\+1 +\\+1\n")
        .containsPattern("https /100m +TLSv1\\.3 TLS_\\S+ +\\+1 +(·|\\+1)\n")
        .contains("The device's kernel encrypts what nginx sends: " + ofTheHost());
    // Both large files, as they were written: what a program encrypts itself it cannot send so.
    assertThat(output).containsPattern("  sendfile .* 209,71[0-9],[0-9]{3}\n");
  }

  /** What the demo is to say of this machine, as far as it shows without asking it likewise. */
  private static String ofTheHost() {
    return Files.exists(Path.of("/proc/net/tls_stat"))
        ? "a feature your host kernel has, too"
        : "a feature your host kernel ";
  }

  @Test
  void theDevicesKernelEncrypts() throws Exception {
    assertThat(demo()).as(() -> errors()).isZero();
    contentsAndKeysAreRight();
    nothingLeft();
  }

  @Test
  void withoutTheRightToMakeAnInterface() throws Exception {
    Programs.require("setpriv");
    Programs.require("passt");
    assertThat(demo("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"))
        .as(() -> errors())
        .isZero();
    assertThat(read("output")).contains("published through passt");
    contentsAndKeysAreRight();
    nothingLeft();
  }

  @Test
  void anNginxThatEncryptsByItselfIsFoundOut() throws Exception {
    // What came is right in this case, and nothing else tells.
    program(
        "nginx",
        """
        for configuration; do :; done
        sed -i '/Options KTLS/d' "$configuration"
        PATH=${PATH#*:}:/usr/sbin exec nginx "$@"
        """);
    assertThat(demo()).as(() -> errors()).isEqualTo(1);
    assertThat(read("output"))
        .containsPattern("https /100m +104,857,600 .* as served")
        .containsPattern("https /1k +TLSv1\\.2 \\S+ +· +·\n")
        .contains("NOT by the device's kernel")
        .doesNotContain("The device's kernel encrypts");
    assertThat(read("errors"))
        .contains("not given the keys of https /1k: TlsTxSw rose by 0 and TlsRxSw by 0")
        .contains("not given the keys of https /100m: TlsTxSw rose by 0 and TlsRxSw by 0");
    nothingLeft();
  }

  private String errors() {
    try {
      return read("output") + read("errors");
    } catch (IOException e) {
      return String.valueOf(e.getMessage());
    }
  }
}
