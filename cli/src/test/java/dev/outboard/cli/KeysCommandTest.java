// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.relay.Identity;
import dev.outboard.relay.TcpAddress;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeysCommandTest {
  @TempDir Path directory;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  private KeyFiles files() {
    return new KeyFiles(directory.resolve("outboard"));
  }

  /** What it prints. */
  private String keys(String... words) {
    out.reset();
    KeysCommand command = new KeysCommand(files());
    Terminal terminal =
        new Terminal(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8));
    assertThat(command.run(command.syntax().parse(List.of(words)), terminal)).isZero();
    return out.toString(StandardCharsets.UTF_8);
  }

  private Path file(String name) {
    return directory.resolve("outboard").resolve(name);
  }

  private void mode(String name, String mode) throws IOException {
    Files.setPosixFilePermissions(file(name), PosixFilePermissions.fromString(mode));
  }

  @Test
  void anIdentityIsMadeOnceAndItsPrivateKeyShownNever() throws Exception {
    assertThatThrownBy(() -> files().requireIdentity()).hasMessageContaining("outboard keys");
    assertThat(keys("list")).contains("no key yet");
    String line = keys();
    assertThat(line).matches("outboard-p256 [A-Za-z0-9+/=]{124} \\S+@\\S+\n");
    assertThat(keys()).isEqualTo(line);
    assertThat(err.toString(StandardCharsets.UTF_8)).containsOnlyOnce("made a key");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file("identity"))))
        .isEqualTo("rw-------");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file(""))))
        .isEqualTo("rwx------");
    String secret = Files.readString(file("identity")).lines().toList().get(1);
    keys("list");
    assertThat(out.toString(StandardCharsets.UTF_8) + err + line).doesNotContain(secret);
  }

  @Test
  void whatOthersMayHaveSeenOrChangedIsRefused() throws Exception {
    String line = keys();
    mode("identity", "rw-r-----");
    assertThatThrownBy(() -> keys()).hasMessageContaining("can be read by others");
    mode("identity", "rw-------");
    keys("add", Identity.create("a").key().line());
    mode("authorized_hosts", "rw-rw-rw-");
    assertThatThrownBy(() -> files().authorizedHosts()).hasMessageContaining("written by others");
    mode("authorized_hosts", "rw-------");
    Files.writeString(file("identity.pub"), Identity.create("b").key().line());
    assertThatThrownBy(() -> keys()).hasMessageContaining("cannot be used");
    Files.writeString(file("identity.pub"), line);
    Files.writeString(file("identity"), "nonsense");
    assertThatThrownBy(() -> keys()).hasMessageContaining("cannot be used");
    Files.writeString(file("authorized_hosts"), "# a comment\n\nnonsense\n");
    assertThatThrownBy(() -> files().authorizedHosts()).hasMessageContaining("no key: nonsense");
  }

  @Test
  void keysAreAddedListedAndRemoved() throws Exception {
    Identity host = Identity.create("root@host");
    Identity device = Identity.create("root@nic");
    String line = host.key().line();
    assertThat(keys("add", line)).contains("may come").contains(host.key().fingerprint());
    assertThat(keys(("add " + line).split(" ", -1))).startsWith("already so");
    Path file = Files.writeString(directory.resolve("line"), device.key().line() + "\n");
    assertThat(keys("add", "nic:7000", file.toString())).contains("nic:7000");
    TcpAddress address = Objects.requireNonNull(TcpAddress.parse("nic:7000"));
    assertThat(files().keysOf(address)).containsExactly(device.key());
    assertThat(files().keysOf(Objects.requireNonNull(TcpAddress.parse("nic:7001")))).isEmpty();
    // One that is trusted as a device may not come as a host, nor the other way round.
    assertThat(files().authorizedHosts()).containsExactly(host.key());
    assertThat(keys("list"))
        .contains("host that may come: " + host.key().fingerprint() + " root@host")
        .contains("device at nic:7000: " + device.key().fingerprint() + " root@nic");
    assertThatThrownBy(() -> keys("add", "nonsense")).hasMessageContaining("is no key");
    assertThatThrownBy(() -> keys("add", "nic:7000")).hasMessageContaining("which key?");
    assertThatThrownBy(() -> keys("remove", "nobody")).hasMessageContaining("no key is known");
    assertThatThrownBy(() -> keys("forget")).hasMessageContaining("does not know 'forget'");
    assertThat(keys("remove", "nic:7000")).contains("device nic:7000");
    assertThat(keys("remove", host.key().fingerprint())).contains("root@host");
    assertThat(files().authorizedHosts()).isEmpty();
    assertThat(files().knownDevices()).isEmpty();
  }

  /**
   * That a host may know what others do is said before its key: the rest of the line is its own.
   */
  @Test
  void anOperatorIsMadeByOneWord() throws Exception {
    Identity host = Identity.create("operator of everything");
    Identity other = Identity.create("root@other");
    assertThat(keys("add", host.key().line())).doesNotContain("know what all do");
    assertThat(files().hosts()).containsExactly(new KeyFiles.Host(host.key(), false));
    keys("add", other.key().line());
    // Also of one that may come already, which keeps its place.
    assertThat(keys("add", "operator", host.key().line())).contains("know what all do there");
    assertThat(files().hosts())
        .containsExactly(
            new KeyFiles.Host(host.key(), true), new KeyFiles.Host(other.key(), false));
    assertThat(keys("add", "operator", host.key().line())).startsWith("already so");
    assertThat(keys("add", host.key().line())).startsWith("already so");
    assertThat(files().hosts()).contains(new KeyFiles.Host(host.key(), true));
    assertThat(Files.readString(file("authorized_hosts")))
        .isEqualTo("operator " + host.key().line() + "\n" + other.key().line() + "\n");
    assertThat(keys("list"))
        .contains("operator that may come: " + host.key().fingerprint())
        .contains("host that may come: " + other.key().fingerprint());
    // Removing another key leaves the word where it is.
    keys("remove", "root@other");
    assertThat(files().hosts()).containsExactly(new KeyFiles.Host(host.key(), true));
    keys("remove", host.key().fingerprint());
    assertThat(files().hosts()).isEmpty();

    // The word is the administrator's: what another machine prints does not have it.
    Path line =
        Files.writeString(directory.resolve("line"), "operator " + other.key().line() + "\n");
    assertThatThrownBy(() -> keys("add", line.toString())).hasMessageContaining("is no key");
    assertThatThrownBy(() -> keys("add", "operator", "nic:7000", other.key().line()))
        .hasMessageContaining("is no key");
    assertThat(files().hosts()).isEmpty();
  }

  @Test
  void timesHaveUnits() {
    Syntax syntax = new RunCommand().syntax();
    assertThat(Durations.parse("--x", "0", syntax)).isZero();
    assertThat(Durations.parse("--x", "500ms", syntax)).isEqualTo(Duration.ofMillis(500));
    assertThat(Durations.parse("--x", "2m", syntax)).isEqualTo(Duration.ofMinutes(2));
    for (String wrong : List.of("", "5", "-5s", "s", "5 s", "25h", "99999999999s", "5d", "1.5s")) {
      assertThatThrownBy(() -> Durations.parse("--x", wrong, syntax))
          .isInstanceOf(Failure.class)
          .hasMessageContaining("is no time");
    }
  }
}
