// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.InetAddress;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NetSpecTest {
  @Test
  void parsesATap() {
    NetSpec.Link tap = (NetSpec.Link) NetSpec.parse("tap:name=ob0,addr=10.77.0.2/24");
    assertThat(tap.name()).isEqualTo("ob0");
    assertThat(tap.address()).hasToString("10.77.0.2/24");
    assertThat(tap.gateway()).isEqualTo(InetAddress.ofLiteral("10.77.0.1"));
    assertThat(tap.address6()).isNull();
    assertThat(tap.mac()).isNull();
    assertThat(tap.mtu()).isEqualTo(1500);
  }

  @Test
  void parsesATapWithEverything() {
    NetSpec.Link tap =
        (NetSpec.Link)
            NetSpec.parse(
                "tap:mtu=9000,mac=02:00:5E:00:53:01,gw6=fd00:77::9,addr6=fd00:77::2/64,"
                    + "gw=10.77.0.250,addr=10.77.0.2/24,name=x");
    assertThat(tap.gateway()).isEqualTo(InetAddress.ofLiteral("10.77.0.250"));
    assertThat(tap.address6()).hasToString("fd00:77:0:0:0:0:0:2/64");
    assertThat(tap.gateway6()).isNotNull();
    assertThat(tap.mac()).hasToString("02:00:5e:00:53:01");
    assertThat(tap.mtu()).isEqualTo(9000);
  }

  @ParameterizedTest
  @CsvSource({
    "10.77.0.2/24, 10.77.0.1",
    "10.77.0.9/29, 10.77.0.9-is-first",
    "192.168.1.7/31, 192.168.1.6",
    "172.16.255.254/12, 172.16.0.1",
    "fd00::2/127, fd00:0:0:0:0:0:0:2-is-first",
    "fd00::3/127, fd00:0:0:0:0:0:0:2",
    "fd00::1:2/64, fd00:0:0:0:0:0:0:1",
  })
  void takesTheFirstAddressForTheHost(String address, String gateway) {
    String spec = "tap:name=x,addr=" + address;
    if (gateway.endsWith("-is-first")) {
      assertThatThrownBy(() -> NetSpec.parse(spec)).hasMessageContaining("is the first");
    } else {
      NetSpec.Link tap = (NetSpec.Link) NetSpec.parse(spec);
      assertThat(tap.gateway()).isEqualTo(InetAddress.ofLiteral(gateway));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "'macvtap:if=mv0,addr=10.0.0.2/24,offload=off', macvtap, false",
    "'packet:if=mv0,addr=10.0.0.2/24,mac=02:00:5e:00:53:01', packet, true",
    "'xdp:if=mv0,addr=10.0.0.2/24', xdp, true",
  })
  void parsesInterfacesThatAreThere(String text, String via, boolean offload) {
    NetSpec.Link link = (NetSpec.Link) NetSpec.parse(text);
    assertThat(link.via()).hasToString(via);
    assertThat(link.name()).isEqualTo("mv0");
    assertThat(link.gateway()).as("none is named").isNull();
    assertThat(link.mtu()).as("the interface's own").isZero();
    assertThat(link.offload()).isEqualTo(offload);
  }

  @Test
  void parsesTheOthers() {
    assertThat(NetSpec.parse("none")).isEqualTo(new NetSpec.None());
    NetSpec.Passt passt = NetSpec.defaultPasst();
    assertThat(passt.address()).hasToString("10.0.2.15/24");
    assertThat(passt.gateway().getHostAddress()).isEqualTo("10.0.2.2");
    assertThat(passt.mtu()).isEqualTo(65520);
    NetSpec.Passt other = (NetSpec.Passt) NetSpec.parse("passt:addr=10.9.8.2/24");
    assertThat(other.gateway().getHostAddress()).isEqualTo("10.9.8.1");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          slirp                                  | --net slirp: unknown kind of network; use tap:..., macvtap:..., packet:..., xdp:..., passt or none
          none:x                                 | --net none takes no options
          none:                                  | --net none takes no options
          tap                                    | --net tap: name and addr are needed, as in tap:name=ob0,addr=10.77.0.2/24
          tap:name=ob0                           | --net tap: name and addr are needed, as in tap:name=ob0,addr=10.77.0.2/24
          tap:nmae=ob0                           | --net tap: unknown option 'nmae'; there are addr, addr6, gso, gw, gw6, mac, mtu, name, offload
          passt:name=x                           | --net passt: unknown option 'name'; there are addr, gw, mac, mtu
          tap:name=a,name=b                      | --net tap: option 'name' comes twice
          tap:name=                              | --net tap: option 'name' has no value
          tap:name                               | --net tap: option 'name' has no value
          tap:name=a,,addr=1.2.3.4/24            | --net tap: unknown option ''; there are addr, addr6, gso, gw, gw6, mac, mtu, name, offload
          tap:name=a/b,addr=10.0.0.2/24          | name=a/b: an interface's name has 1 to 15 bytes without space, '/', ':' or '%'
          tap:name=ob%d,addr=10.0.0.2/24         | name=ob%d: an interface's name has 1 to 15 bytes without space, '/', ':' or '%'
          tap:name=abcdefghijklmnop,addr=10.0.0.2/24 | name=abcdefghijklmnop: an interface's name has 1 to 15 bytes without space, '/', ':' or '%'
          tap:name=a,addr=10.0.0.2               | addr=10.0.0.2: a prefix length is missing, as in 10.77.0.2/24
          tap:name=a,addr=10.0.0.2/              | addr=10.0.0.2/: the prefix length is a number from 1 to 31
          tap:name=a,addr=10.0.0.2/32            | addr=10.0.0.2/32: the prefix length is a number from 1 to 31
          tap:name=a,addr=10.0.0/24              | addr=10.0.0: not an IPv4 or IPv6 address in digits
          tap:name=a,addr=example.com/24         | addr=example.com: not an IPv4 or IPv6 address in digits
          tap:name=a,addr=10.0.0.0/24            | addr=10.0.0.0/24: not an address that an interface can have
          tap:name=a,addr=10.0.0.255/24          | addr=10.0.0.255/24: not an address that an interface can have
          tap:name=a,addr=127.0.0.2/8            | addr=127.0.0.2/8: not an address that an interface can have
          tap:name=a,addr=10.0.0.1/24            | 10.0.0.1/24: the device's address is the first of its prefix, which is the host's end's; choose another or give gw=
          tap:name=a,addr=10.0.0.2/24,gw=10.0.0.2 | gw=10.0.0.2: that is the device's own address
          tap:name=a,addr=10.0.0.2/24,gw=10.0.1.1 | gw=10.0.1.1: not an address in 10.0.0.2/24
          tap:name=a,addr=10.0.0.2/24,gw6=fd00::1 | gw6=fd00::1: gw6 needs addr6
          tap:name=a,addr=10.0.0.2/24,addr6=10.0.1.2/24 | addr6=10.0.1.2/24: addr6 is an IPv6 address beside an IPv4 one in addr
          tap:name=a,addr=10.0.0.2/24,mtu=100    | mtu=100: a number from 576 to 65521 is needed
          tap:name=a,addr=fd00::2/64,mtu=1000    | mtu=1000: a number from 1280 to 65521 is needed
          tap:name=a,addr=10.0.0.2/24,mtu=1k     | mtu=1k: a number from 576 to 65521 is needed
          tap:name=a,addr=10.0.0.2/24,mac=1:2:3  | mac=1:2:3: not six bytes as in 02:00:5e:00:53:01
          tap:name=a,addr=10.0.0.2/24,mac=01:00:5e:00:00:01 | mac=01:00:5e:00:00:01: a card cannot have a group address
          tap:name=a,addr=10.0.0.2/24,offload=no | offload=no: use on or off
          tap:name=a,addr=10.0.0.2/24,gso=65535  | gso=65535: a number from 65536 to 262140 is needed
          tap:name=a,addr=10.0.0.2/24,gso=big    | gso=big: a number from 65536 to 262140 is needed
          tap:name=a,addr=10.0.0.2/24,gso=99999,offload=off | gso=99999: there are no segments with offload=off
          xdp:if=a,addr=10.0.0.2/24,gso=99999    | --net xdp: unknown option 'gso'; there are addr, addr6, gw, gw6, if, mac, mtu
          packet:name=a,addr=10.0.0.2/24         | --net packet: unknown option 'name'; there are addr, addr6, gso, gw, gw6, if, mac, mtu
          xdp:if=a                               | --net xdp: if and addr are needed, as in xdp:if=ob0,addr=10.77.0.2/24
          passt:addr=fd00::2/64                  | addr=fd00::2/64: passt takes an IPv4 address; IPv6 is set by itself
          """)
  void saysWhatIsWrong(String spec, String message) {
    assertThatThrownBy(() -> NetSpec.parse(spec))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  @Test
  void makesRandomAddressesLocal() {
    for (int i = 0; i < 1000; i++) {
      byte first = MacAddress.random().bytes()[0];
      assertThat(first & 3).as("locally administered, not a group").isEqualTo(2);
    }
  }
}
