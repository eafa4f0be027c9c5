// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Which sockets of the host are those of its name services. */
class HostNamesTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "/run/nscd/socket",
        "/var/run/nscd/socket",
        "/run/systemd/resolve/io.systemd.Resolve",
        "//run/./systemd//resolve/x/../io.systemd.Resolve",
        "/var/run/avahi-daemon/socket"
      })
  void aNameService(String path) {
    assertThat(HostNames.isOne(path.getBytes(StandardCharsets.UTF_8))).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "run/nscd/socket",
        "/run/nscd/socket/x",
        "/run/nscd",
        "/var/run",
        "/run/systemd/resolve/io.systemd.Resolve.Monitor",
        "/run/dbus/system_bus_socket",
        "/var/var/run/nscd/socket"
      })
  void another(String path) {
    assertThat(HostNames.isOne(path.getBytes(StandardCharsets.UTF_8))).isFalse();
  }
}
