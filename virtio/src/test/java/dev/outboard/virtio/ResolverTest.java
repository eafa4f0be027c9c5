// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ResolverTest {
  @TempDir Path directory;
  private Path file;
  private Path upstream;

  @BeforeEach
  void paths() {
    file = directory.resolve("resolv.conf");
    upstream = directory.resolve("upstream.conf");
  }

  private static List<String> text(List<InetAddress> addresses) {
    return addresses.stream().map(InetAddress::getHostAddress).toList();
  }

  @Test
  void takesServersThatCanBeReached() throws IOException {
    Files.writeString(
        file,
        """
        # a comment
        domain old.example
        search example.com example.org
        nameserver 192.0.2.53
        nameserver 127.0.0.1
        nameserver nonsense
        nameserver 2001:db8::53
        options ndots:1 timeout:2
        options rotate
        """);
    Resolver r = Resolver.of(file, upstream);
    assertThat(text(r.nameservers())).containsExactly("192.0.2.53", "2001:db8:0:0:0:0:0:53");
    assertThat(r.searchDomains()).containsExactly("example.com", "example.org");
    assertThat(r.options()).containsExactly("ndots:1", "timeout:2", "rotate");
    assertThat(r.notices()).isEmpty();
    assertThat(r.loopback()).isEmpty();
  }

  @Test
  void replacesAStubByWhatIsBehindItAndSaysSo() throws IOException {
    Files.writeString(file, "nameserver 127.0.0.53\nsearch lan\noptions edns0\n");
    Files.writeString(upstream, "nameserver 192.0.2.1\n");
    Resolver r = Resolver.of(file, upstream);
    assertThat(text(r.nameservers())).containsExactly("192.0.2.1");
    assertThat(r.searchDomains()).containsExactly("lan");
    assertThat(r.options()).containsExactly("edns0");
    assertThat(r.notices())
        .singleElement()
        .asString()
        .contains("127.0.0.53")
        .contains("192.0.2.1")
        .contains(upstream.toString());
  }

  @Test
  void reportsAStubThatNothingReplaces() throws IOException {
    Files.writeString(file, "nameserver 127.0.0.53\n");
    Resolver r = Resolver.of(file, upstream);
    assertThat(r.nameservers()).isEmpty();
    assertThat(text(r.loopback())).containsExactly("127.0.0.53");
  }

  @Test
  void livesWithoutAFile() {
    Resolver r = Resolver.of(file, upstream);
    assertThat(r.nameservers()).isEmpty();
    assertThat(r.loopback()).isEmpty();
  }
}
