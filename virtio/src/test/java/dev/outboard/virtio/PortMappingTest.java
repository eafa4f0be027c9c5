// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.InetAddress;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PortMappingTest {
  @ParameterizedTest
  @ValueSource(
      strings = {"8080:80", "127.0.0.1:8080:80", "0.0.0.0:1:65535", "53:53/udp", "1.2.3.4:5:6/udp"})
  void readsWhatItWrites(String text) {
    assertThat(PortMapping.parse(text)).hasToString(text);
  }

  @Test
  void readsTheParts() {
    PortMapping m = PortMapping.parse("[::1]:8080:80/tcp");
    assertThat(m.address()).isEqualTo(InetAddress.ofLiteral("::1"));
    assertThat(m.outerPort()).isEqualTo(8080);
    assertThat(m.devicePort()).isEqualTo(80);
    assertThat(m.udp()).isFalse();
    assertThat(PortMapping.parse("1:2").address()).isNull();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          80             | --publish 80: not [ADDR:]PORT:PORT[/udp], as in 127.0.0.1:8080:80
          80:80/sctp     | --publish 80:80/sctp: 'sctp' is neither tcp nor udp
          80:            | --publish 80:: '' is not a port from 1 to 65535
          :80            | --publish :80: '' is not a port from 1 to 65535
          0:80           | --publish 0:80: '0' is not a port from 1 to 65535
          80:65536       | --publish 80:65536: '65536' is not a port from 1 to 65535
          80:+80         | --publish 80:+80: '+80' is not a port from 1 to 65535
          host:80:80     | --publish host:80:80: 'host' is not an address in digits
          ::1:80:80      | --publish ::1:80:80: an IPv6 address is put in brackets, as in [::1]:8080:80
          """)
  void saysWhatIsWrong(String text, String message) {
    assertThatThrownBy(() -> PortMapping.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }
}
