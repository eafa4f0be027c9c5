// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.device.DeviceOptions;
import dev.outboard.virtio.NetSpec;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DeviceSettingsTest {
  private static final Syntax SYNTAX =
      new Syntax("device", "", "", List.of(), DeviceSettings.OPTIONS, List.of());

  private static DeviceSettings parse(String... words) {
    return DeviceSettings.from(SYNTAX.parse(List.of(words)), SYNTAX);
  }

  @Test
  void everythingHasADefault() {
    DeviceSettings settings = parse();
    assertThat(settings.hostKernel()).isFalse();
    assertThat(settings.net()).isNull();
    assertThat(settings.memoryBytes()).isEqualTo(DeviceOptions.DEFAULT_MEMORY_BYTES);
  }

  @Test
  void everythingThatIsGivenArrives() {
    DeviceSettings settings =
        parse(
            "--net=tap:name=ob0,addr=10.77.0.2/24",
            "-p",
            "8080:80",
            "--host-loopback=5432,6379",
            "--dns=9.9.9.9,2620:fe::fe",
            "--memory=1g");
    assertThat(settings.net()).isInstanceOf(NetSpec.Link.class);
    assertThat(settings.published()).singleElement().extracting("devicePort").isEqualTo(80);
    assertThat(settings.hostLoopback()).containsExactly(5432, 6379);
    assertThat(settings.dns())
        .extracting("hostAddress")
        .containsExactly("9.9.9.9", "2620:fe:0:0:0:0:0:fe");
    assertThat(settings.memoryBytes()).isEqualTo(1L << 30);
    assertThat(parse("--memory=33M").memoryBytes()).isEqualTo(36L << 20);
    assertThat(parse("--kernel", "host").hostKernel()).isTrue();
  }

  @Test
  void exportsAndDisksArrive() {
    DeviceSettings settings =
        parse("--export=/srv/www", "--export", "/a:/b:ro", "--disk=/images/x:/c");
    assertThat(settings.exports()).extracting("at").containsExactly("/srv/www", "/b", "/c");
    assertThat(settings.exports()).extracting("disk").containsExactly(false, false, true);
    assertThat(settings.exports()).extracting("readOnly").containsExactly(false, true, false);
    assertThatThrownBy(() -> parse("--kernel=host", "--disk=/x"))
        .hasMessageContaining("mount the image on the machine");
  }

  @Test
  void theWordsForAnotherProcessMeanTheSame() {
    List<String> given =
        List.of("--net=none", "-p", "1:2", "-p", "3:4/udp", "--dns", "1.1.1.1", "--memory=64M");
    Arguments arguments = SYNTAX.parse(given);
    List<String> words = DeviceSettings.words(arguments);
    assertThat(words)
        .containsExactly(
            "--net=none", "--publish=1:2", "--publish=3:4/udp", "--dns=1.1.1.1", "--memory=64M");
    assertThat(DeviceSettings.from(SYNTAX.parse(words), SYNTAX))
        .isEqualTo(DeviceSettings.from(arguments, SYNTAX));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--kernel=windows",
        "--net=carrier-pigeon",
        "--net=tap:name=x",
        "--publish=80",
        "--host-loopback=0",
        "--host-loopback=65536",
        "--host-loopback=ssh",
        "--dns=example.org",
        "--dns=1.2.3.4.5",
        "--dns=1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4",
        "--memory=1",
        "--memory=1T",
        "--memory=99999999999G"
      })
  void nonsenseIsRefusedInWords(String option) {
    assertThatThrownBy(() -> parse(option))
        .isInstanceOf(Failure.class)
        .hasMessageEndingWith("\nTry 'outboard device --help'.")
        .extracting(Throwable::getMessage)
        .asString()
        .hasSizeGreaterThan(50);
  }

  @Test
  void theHostsKernelHasNoNetworkOfItsOwn() {
    assertThatThrownBy(() -> parse("--kernel=host", "--net=none"))
        .hasMessageContaining("--net is about the library kernel");
  }
}
